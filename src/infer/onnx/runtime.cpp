// SPDX-License-Identifier: Apache-2.0
#include "runtime.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "bunchtrain/core/error.hpp"

namespace bunchtrain::infer::onnx {
namespace {

// Types of the library that only pass through.
struct Status;
struct Environment;
struct SessionOptions;
struct Session;
struct RunOptions;
struct MemoryInfo;
struct Tensor;

/// What `OrtGetApiBase` gives.
struct ApiBase {
  const void* const* (*get_table)(std::uint32_t version);
  const char* (*version)();
};

// Places in the table of functions. Entries are only ever added behind the last: these have stood since version 1.
template <std::size_t place, class Function>
struct Entry;
template <std::size_t place, class Result, class... Arguments>
struct Entry<place, Result(Arguments...)> {
  static Result call(const void* const* table, Arguments... arguments) {
    return reinterpret_cast<Result (*)(Arguments...)>(const_cast<void*>(table[place]))(arguments...);
  }
};
using GetErrorMessage = Entry<2, const char*(const Status*)>;
using CreateEnvironment = Entry<3, Status*(int, const char*, Environment**)>;
using CreateSessionOfFile =
    Entry<7, Status*(const Environment*, const char*, const SessionOptions*, Session**)>;
using CreateSession =
    Entry<8, Status*(const Environment*, const void*, std::size_t, const SessionOptions*, Session**)>;
using Run = Entry<9, Status*(Session*, const RunOptions*, const char* const*, const Tensor* const*,
                             std::size_t, const char* const*, std::size_t, Tensor**)>;
using CreateSessionOptions = Entry<10, Status*(SessionOptions**)>;
using SetThreads = Entry<24, Status*(SessionOptions*, int)>;
using CreateTensor = Entry<49, Status*(const MemoryInfo*, void*, std::size_t, const std::int64_t*,
                                       std::size_t, int, Tensor**)>;
using GetData = Entry<51, Status*(Tensor*, void**)>;
using CreateCpuMemoryInfo = Entry<69, Status*(int, int, MemoryInfo**)>;
using ReleaseEnvironment = Entry<92, void(Environment*)>;
using ReleaseStatus = Entry<93, void(Status*)>;
using ReleaseMemoryInfo = Entry<94, void(MemoryInfo*)>;
using ReleaseSession = Entry<95, void(Session*)>;
using ReleaseTensor = Entry<96, void(Tensor*)>;
using ReleaseSessionOptions = Entry<100, void(SessionOptions*)>;

constexpr int kWarningsOfErrorsAlone = 3, kArenaAllocator = 1, kDefaultMemory = 0;

const ApiBase* open_library(const std::filesystem::path& path) {
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    throw ConfigError("onnxruntime", path.string(), fmt::format("a libonnxruntime.so ({})", ::dlerror()));
  const auto get_base = reinterpret_cast<const ApiBase* (*)()>(::dlsym(library, "OrtGetApiBase"));
  if (!get_base)
    throw ConfigError("onnxruntime", path.string(), "a libonnxruntime.so: it has no OrtGetApiBase");
  return get_base();
}

std::size_t bytes_of(const RuntimeInput& input) {
  const std::int64_t count =
      std::accumulate(input.shape.begin(), input.shape.end(), std::int64_t{1}, std::multiplies<>());
  const std::size_t each = input.type == Type::boolean ? 1 : input.type == Type::int64 ? 8 : 4;
  return static_cast<std::size_t>(count) * each;
}

}  // namespace

struct Runtime::Impl {
  explicit Impl(const std::filesystem::path& library)
      : base(open_library(library)), table(base->get_table(1)) {
    if (!table) throw ConfigError("onnxruntime", library.string(), "an ONNX Runtime of version 1 or newer");
  }
  ~Impl() {
    if (session) ReleaseSession::call(table, session);
    if (memory) ReleaseMemoryInfo::call(table, memory);
    if (environment) ReleaseEnvironment::call(table, environment);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  template <class Create>
  static std::unique_ptr<Impl> make(const std::filesystem::path& library, int threads, const Create& create);
  void check(Status* status) const {
    if (!status) return;
    const std::string message = GetErrorMessage::call(table, status);
    ReleaseStatus::call(table, status);
    throw DataError(fmt::format("ONNX Runtime {}: {}", base->version(), message));
  }

  const ApiBase* base;
  const void* const* table;
  Environment* environment = nullptr;
  MemoryInfo* memory = nullptr;
  Session* session = nullptr;
};

namespace {

/// Tensors of a call, released when it ends.
class Tensors {
 public:
  Tensors(const void* const* table, std::size_t count) : table_(table), tensors_(count, nullptr) {}
  ~Tensors() {
    for (Tensor* tensor : tensors_)
      if (tensor) ReleaseTensor::call(table_, tensor);
  }
  Tensors(const Tensors&) = delete;
  Tensors& operator=(const Tensors&) = delete;
  Tensor** data() noexcept { return tensors_.data(); }
  Tensor*& operator[](std::size_t i) { return tensors_[i]; }

 private:
  const void* const* table_;
  std::vector<Tensor*> tensors_;
};

}  // namespace

/// Environment, memory and, by `create(table, options)`, a session.
template <class Create>
std::unique_ptr<Runtime::Impl> Runtime::Impl::make(const std::filesystem::path& library, int threads,
                                                   const Create& create) {
  auto impl = std::make_unique<Impl>(library);
  const void* const* table = impl->table;
  impl->check(CreateEnvironment::call(table, kWarningsOfErrorsAlone, "bunchtrain", &impl->environment));
  impl->check(CreateCpuMemoryInfo::call(table, kArenaAllocator, kDefaultMemory, &impl->memory));
  SessionOptions* options = nullptr;
  impl->check(CreateSessionOptions::call(table, &options));
  const auto release = [table](SessionOptions* held) { ReleaseSessionOptions::call(table, held); };
  const std::unique_ptr<SessionOptions, decltype(release)> held(options, release);
  impl->check(SetThreads::call(table, options, threads));
  impl->check(create(*impl, options));
  return impl;
}

Runtime::Runtime(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Runtime::Runtime(const std::filesystem::path& library, std::string_view model, int threads)
    : Runtime(Impl::make(library, threads, [&](Impl& impl, SessionOptions* options) {
        return CreateSession::call(impl.table, impl.environment, model.data(), model.size(), options,
                                   &impl.session);
      })) {}
Runtime Runtime::open(const std::filesystem::path& library, const std::filesystem::path& file, int threads) {
  return Runtime(Impl::make(library, threads, [&](Impl& impl, SessionOptions* options) {
    return CreateSessionOfFile::call(impl.table, impl.environment, file.c_str(), options, &impl.session);
  }));
}
Runtime::Runtime(Runtime&&) noexcept = default;
Runtime& Runtime::operator=(Runtime&&) noexcept = default;
Runtime::~Runtime() = default;

std::string_view Runtime::version() const noexcept { return impl_->base->version(); }

void Runtime::run(std::span<const RuntimeInput> inputs, std::span<const RuntimeOutput> outputs) const {
  const void* const* table = impl_->table;
  Tensors given(table, inputs.size()), found(table, outputs.size());
  std::vector<const char*> input_names, output_names;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const RuntimeInput& input = inputs[i];
    input_names.push_back(input.name);
    impl_->check(CreateTensor::call(table, impl_->memory, const_cast<void*>(input.data), bytes_of(input),
                                    input.shape.data(), input.shape.size(), static_cast<int>(input.type),
                                    &given[i]));
  }
  for (const RuntimeOutput& output : outputs) output_names.push_back(output.name);
  impl_->check(Run::call(table, impl_->session, nullptr, input_names.data(), given.data(), inputs.size(),
                         output_names.data(), outputs.size(), found.data()));
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    void* values = nullptr;
    impl_->check(GetData::call(table, found[i], &values));
    std::copy_n(static_cast<const float*>(values), outputs[i].values.size(), outputs[i].values.begin());
  }
}

}  // namespace bunchtrain::infer::onnx
