// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <vector>

#include "bunchtrain/core/version.hpp"
#include "graph.hpp"
#include "wire.hpp"

namespace bunchtrain::infer::onnx {
namespace {

// Field numbers of onnx.proto.
namespace model {
constexpr int kIrVersion = 1, kProducer = 2, kProducerVersion = 3, kGraph = 7, kOpset = 8, kMetadata = 14;
}
namespace graph {
constexpr int kNode = 1, kName = 2, kConstant = 5, kInput = 11, kOutput = 12;
}
namespace node {
constexpr int kInput = 1, kOutput = 2, kName = 3, kType = 4, kAttribute = 5;
}
namespace attribute {
constexpr int kName = 1, kFloat = 2, kInt = 3, kInts = 8, kType = 20;
constexpr std::uint64_t kIsFloat = 1, kIsInt = 2, kIsInts = 7;
}  // namespace attribute
namespace tensor {
constexpr int kDims = 1, kType = 2, kName = 8, kRaw = 9, kExternal = 13, kPlace = 14;
constexpr std::uint64_t kIsExternal = 1;
}  // namespace tensor

constexpr const char* kProducerName = "bunchtrain";

constexpr std::uint64_t kLeastExternal = 1024, kPage = 4096;  ///< bytes

std::string_view bytes_of(const Constant& constant) {
  return std::visit(
      [](const auto& values) {
        return std::string_view(reinterpret_cast<const char*>(values.data()),
                                values.size() * sizeof(values[0]));
      },
      constant.values);
}

void write_entry(WireWriter& out, int field, std::string_view key, std::string_view value) {
  WireWriter entry;
  entry.bytes(1, key);
  entry.bytes(2, value);
  out.bytes(field, entry.take());
}

void write_external(WireWriter& out, std::string_view values, ExternalData& external) {
  external.bytes.resize((external.bytes.size() + kPage - 1) / kPage * kPage);
  write_entry(out, tensor::kExternal, "location", external.location);
  write_entry(out, tensor::kExternal, "offset", fmt::to_string(external.bytes.size()));
  write_entry(out, tensor::kExternal, "length", fmt::to_string(values.size()));
  out.varint(tensor::kPlace, tensor::kIsExternal);
  external.bytes.append(values);
}

std::string encode(const Constant& constant, ExternalData* external) {
  WireWriter out;
  for (const std::int64_t size : constant.shape) out.varint(tensor::kDims, static_cast<std::uint64_t>(size));
  const Type type = constant.values.index() == 0 ? Type::float32 : Type::int64;
  out.varint(tensor::kType, static_cast<std::uint64_t>(type));
  out.bytes(tensor::kName, constant.name);
  if (external && constant.bytes() >= kLeastExternal)
    write_external(out, bytes_of(constant), *external);
  else
    out.bytes(tensor::kRaw, bytes_of(constant));
  return out.take();
}

std::string encode(const std::string& name, const Attribute& value) {
  WireWriter out;
  out.bytes(attribute::kName, name);
  if (const auto* number = std::get_if<float>(&value)) {
    out.number(attribute::kFloat, *number);
    out.varint(attribute::kType, attribute::kIsFloat);
  } else if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    out.varint(attribute::kInt, static_cast<std::uint64_t>(*integer));
    out.varint(attribute::kType, attribute::kIsInt);
  } else {
    for (const std::int64_t each : std::get<std::vector<std::int64_t>>(value))
      out.varint(attribute::kInts, static_cast<std::uint64_t>(each));
    out.varint(attribute::kType, attribute::kIsInts);
  }
  return out.take();
}

std::string encode(const Node& each, std::size_t number) {
  WireWriter out;
  for (const std::string& name : each.inputs) out.bytes(node::kInput, name);
  for (const std::string& name : each.outputs) out.bytes(node::kOutput, name);
  out.bytes(node::kName,
            fmt::format("{}{}{}_{}", each.layer, each.layer.empty() ? "" : "/", each.type, number));
  out.bytes(node::kType, each.type);
  for (const auto& [name, value] : each.attributes) out.bytes(node::kAttribute, encode(name, value));
  return out.take();
}

/// ValueInfoProto {name, TypeProto {tensor_type {elem_type, shape {dim {value or name}}}}}.
std::string encode(const Value& value) {
  WireWriter shape;
  for (const Dimension& dimension : value.shape) {
    WireWriter each;
    if (const auto* size = std::get_if<std::int64_t>(&dimension))
      each.varint(1, static_cast<std::uint64_t>(*size));
    else
      each.bytes(2, std::get<std::string>(dimension));
    shape.bytes(1, each.take());
  }
  WireWriter tensor_type, type, out;
  tensor_type.varint(1, static_cast<std::uint64_t>(value.type));
  tensor_type.bytes(2, shape.take());
  type.bytes(1, tensor_type.take());
  out.bytes(1, value.name);
  out.bytes(2, type.take());
  return out.take();
}

std::string encode_graph(const Graph& content, ExternalData* external) {
  WireWriter out;
  for (std::size_t i = 0; i < content.nodes.size(); ++i) out.bytes(graph::kNode, encode(content.nodes[i], i));
  out.bytes(graph::kName, content.name);
  for (const Constant& constant : content.constants) out.bytes(graph::kConstant, encode(constant, external));
  for (const Value& value : content.inputs) out.bytes(graph::kInput, encode(value));
  for (const Value& value : content.outputs) out.bytes(graph::kOutput, encode(value));
  return out.take();
}

/// Calls `read(field)` for every field of a message.
template <class Read>
void for_fields(std::string_view bytes, Read&& read) {
  WireReader reader(bytes);
  while (const auto field = reader.next()) read(*field);
}

std::string text_of(const WireReader::Field& field) {
  if (field.wire != Wire::bytes) throw DataError("a text is none");
  return std::string(field.bytes);
}

template <class T>
std::vector<T> values_of(std::string_view raw, const std::vector<std::int64_t>& shape) {
  std::uint64_t count = 1;
  for (const std::int64_t size : shape) {
    if (size < 0 || (size > 0 && count > raw.size() / static_cast<std::uint64_t>(size)))
      throw DataError("a constant has not the values that its shape says");
    count *= static_cast<std::uint64_t>(size);
  }
  if (count * sizeof(T) != raw.size()) throw DataError("a constant has not the values that its shape says");
  std::vector<T> values(count);
  if (count > 0) std::memcpy(values.data(), raw.data(), raw.size());
  return values;
}

/// "offset" and its like of a constant in the second file.
using Entries = std::map<std::string, std::string>;

void read_entry(std::string_view bytes, Entries& into) {
  std::string key;
  for_fields(bytes, [&](const WireReader::Field& field) {
    if (field.number == 1) key = text_of(field);
    if (field.number == 2) into[key] = text_of(field);
  });
}

std::string_view external_values(const Entries& entries, std::string_view external) {
  const auto number = [&](const char* key) {
    const auto found = entries.find(key);
    std::uint64_t value = 0;
    if (found == entries.end() ||
        std::from_chars(found->second.data(), found->second.data() + found->second.size(), value).ec !=
            std::errc())
      throw DataError(fmt::format("a constant in a second file has no {}", key));
    return value;
  };
  const std::uint64_t offset = number("offset"), length = number("length");
  if (offset > external.size() || length > external.size() - offset)
    throw DataError("a constant lies behind the end of the second file");
  return external.substr(offset, length);
}

Constant decode_constant(std::string_view bytes, std::string_view external) {
  Constant constant;
  std::uint64_t type = 0;
  std::string_view raw;
  Entries entries;
  for_fields(bytes, [&](const WireReader::Field& field) {
    if (field.number == tensor::kDims)
      constant.shape.push_back(static_cast<std::int64_t>(field.value));
    else if (field.number == tensor::kType)
      type = field.value;
    else if (field.number == tensor::kName)
      constant.name = text_of(field);
    else if (field.number == tensor::kRaw)
      raw = field.bytes;
    else if (field.number == tensor::kExternal)
      read_entry(field.bytes, entries);
    else if (field.number != tensor::kPlace)
      throw DataError("a constant is not stored as raw bytes: another program wrote it");
  });
  if (!entries.empty()) raw = external_values(entries, external);
  if (type == static_cast<std::uint64_t>(Type::float32))
    constant.values = values_of<float>(raw, constant.shape);
  else if (type == static_cast<std::uint64_t>(Type::int64))
    constant.values = values_of<std::int64_t>(raw, constant.shape);
  else
    throw DataError(
        fmt::format("the constant '{}' is of the type {}: another program wrote it", constant.name, type));
  return constant;
}

void decode_attribute(std::string_view bytes, Node& into) {
  std::string name;
  std::uint64_t type = 0;
  Attribute number = 0.0F, integer = std::int64_t{0};
  std::vector<std::int64_t> integers;
  for_fields(bytes, [&](const WireReader::Field& field) {
    if (field.number == attribute::kName) name = text_of(field);
    if (field.number == attribute::kFloat) number = field.number_value();
    if (field.number == attribute::kInt) integer = static_cast<std::int64_t>(field.value);
    if (field.number == attribute::kInts) integers.push_back(static_cast<std::int64_t>(field.value));
    if (field.number == attribute::kType) type = field.value;
  });
  if (type == attribute::kIsFloat)
    into.attributes[name] = number;
  else if (type == attribute::kIsInt)
    into.attributes[name] = integer;
  else if (type == attribute::kIsInts)
    into.attributes[name] = integers;
  else
    throw DataError(
        fmt::format("the attribute '{}' is of a kind that we do not read: another program wrote it", name));
}

/// "conv1" of "conv1/Relu_3".
std::string layer_of(const std::string& name) {
  const std::size_t end = name.rfind('/');
  return end == std::string::npos ? "" : name.substr(0, end);
}

Node decode_node(std::string_view bytes) {
  Node found;
  for_fields(bytes, [&](const WireReader::Field& field) {
    if (field.number == node::kInput) found.inputs.push_back(text_of(field));
    if (field.number == node::kOutput) found.outputs.push_back(text_of(field));
    if (field.number == node::kName) found.layer = layer_of(text_of(field));
    if (field.number == node::kType) found.type = text_of(field);
    if (field.number == node::kAttribute) decode_attribute(field.bytes, found);
  });
  // What stands behind the last one of a name is the operator, what stands before it the layer.
  if (found.type.find('/') != std::string::npos)
    throw DataError(fmt::format("'{}' is no operator: another program wrote it", found.type));
  return found;
}

Value decode_value(std::string_view bytes) {
  Value value;
  const auto read_dimension = [&](std::string_view text) {
    Dimension dimension = std::int64_t{0};
    for_fields(text, [&](const WireReader::Field& field) {
      if (field.number == 1) dimension = static_cast<std::int64_t>(field.value);
      if (field.number == 2) dimension = text_of(field);
    });
    value.shape.push_back(dimension);
  };
  const auto read_tensor = [&](std::string_view text) {
    for_fields(text, [&](const WireReader::Field& field) {
      if (field.number == 1) value.type = static_cast<Type>(field.value);
      if (field.number == 2)
        for_fields(field.bytes, [&](const WireReader::Field& dimension) {
          if (dimension.number == 1) read_dimension(dimension.bytes);
        });
    });
  };
  for_fields(bytes, [&](const WireReader::Field& field) {
    if (field.number == 1) value.name = text_of(field);
    if (field.number == 2)
      for_fields(field.bytes, [&](const WireReader::Field& type) {
        if (type.number == 1) read_tensor(type.bytes);
      });
  });
  return value;
}

void decode_graph(std::string_view bytes, std::string_view external, Graph& into) {
  for_fields(bytes, [&](const WireReader::Field& field) {
    if (field.number == graph::kNode) into.nodes.push_back(decode_node(field.bytes));
    if (field.number == graph::kName) into.name = text_of(field);
    if (field.number == graph::kConstant) into.constants.push_back(decode_constant(field.bytes, external));
    if (field.number == graph::kInput) into.inputs.push_back(decode_value(field.bytes));
    if (field.number == graph::kOutput) into.outputs.push_back(decode_value(field.bytes));
  });
}

}  // namespace

std::string encode(const Graph& content, ExternalData* external) {
  WireWriter opset, out;
  opset.bytes(1, "");
  opset.varint(2, static_cast<std::uint64_t>(content.opset));
  out.varint(model::kIrVersion, content.opset >= 15 ? 8 : 7);
  out.bytes(model::kProducer, kProducerName);
  out.bytes(model::kProducerVersion, version());
  out.bytes(model::kGraph, encode_graph(content, external));
  out.bytes(model::kOpset, opset.take());
  for (const auto& [key, value] : content.metadata) write_entry(out, model::kMetadata, key, value);
  return out.take();
}

Graph decode(std::string_view bytes, std::string_view origin, std::string_view external) {
  try {
    Graph found;
    std::string producer;
    for_fields(bytes, [&](const WireReader::Field& field) {
      if (field.number == model::kProducer) producer = text_of(field);
      if (field.number == model::kGraph) decode_graph(field.bytes, external, found);
      if (field.number == model::kOpset)
        for_fields(field.bytes, [&](const WireReader::Field& each) {
          if (each.number == 2) found.opset = static_cast<std::int64_t>(each.value);
        });
      if (field.number == model::kMetadata) read_entry(field.bytes, found.metadata);
    });
    if (producer != kProducerName)
      throw DataError(fmt::format("'{}' wrote it, and not bunchtrain", producer));
    return found;
  } catch (const DataError& error) {
    throw DataError(fmt::format("{} is no ONNX file of ours: {}", origin, error.message()));
  }
}

}  // namespace bunchtrain::infer::onnx
