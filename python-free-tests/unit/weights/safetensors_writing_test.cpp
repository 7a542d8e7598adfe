// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/fsuid.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "bunchtrain/core/error.hpp"
#include "bunchtrain/weights/safetensors.hpp"

namespace bunchtrain::weights {
namespace {

namespace fs = std::filesystem;

/// A folder of its own, removed afterwards.
class SafeTensorsWritingTest : public testing::Test {
 protected:
  SafeTensorsWritingTest()
      : folder_(fs::path(testing::TempDir()) / ("writing" + std::to_string(::getpid()))) {
    fs::create_directories(folder_);
    content_.tensors.set("w", at::zeros({1024}));
  }
  ~SafeTensorsWritingTest() override { fs::remove_all(folder_); }

  std::string message_of_writing(const fs::path& path) const {
    try {
      write_safetensors(path, content_);
    } catch (const CheckpointError& error) {
      return error.what();
    }
    return "written";
  }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), {}));
  }

  fs::path folder_;
  SafeTensors content_;
};

/// Files of this process may not grow beyond `bytes`: what a full disk looks like to a writer.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST_F(SafeTensorsWritingTest, FullDiskKeepsTheOldFile) {
  const fs::path path = folder_ / "model.safetensors";
  ASSERT_EQ(message_of_writing(path), "written");
  const auto size = fs::file_size(path);
  {
    const FileSizeLimit limit(1000);
    EXPECT_THAT(message_of_writing(path), testing::HasSubstr(path.string()));
  }
  EXPECT_EQ(fs::file_size(path), size);
  EXPECT_EQ(files(), 1U) << "the temporary file must be gone";
  EXPECT_NO_THROW(read_safetensors(path));
}

TEST_F(SafeTensorsWritingTest, ReadOnlyFolder) {
  ::chmod(folder_.c_str(), 0555);
  // Root may write anywhere; for file access this thread becomes nobody.
  const int before = ::setfsuid(65534);
  const std::string message = message_of_writing(folder_ / "model.safetensors");
  ::setfsuid(static_cast<uid_t>(before));
  ::chmod(folder_.c_str(), 0755);
  EXPECT_THAT(message, testing::HasSubstr(folder_.string()));
  EXPECT_EQ(files(), 0U);
}

TEST_F(SafeTensorsWritingTest, MissingFolder) {
  EXPECT_THAT(message_of_writing(folder_ / "none" / "model.safetensors"), testing::HasSubstr("none"));
}

TEST_F(SafeTensorsWritingTest, RefusesWhatTheFormatCannotHold) {
  const fs::path path = folder_ / "model.safetensors";
  content_.tensors.set("w", at::zeros({2}, at::kComplexFloat));
  EXPECT_THAT(message_of_writing(path), testing::HasSubstr("tensor 'w' is CPUComplexFloatType"));
  content_.tensors.set("w", at::Tensor());
  EXPECT_THAT(message_of_writing(path), testing::HasSubstr("tensor 'w' is undefined"));
  content_.tensors.set("w", at::zeros({2}));
  content_.metadata["note"] = "\xff";
  EXPECT_THAT(message_of_writing(path), testing::HasSubstr("not UTF-8"));
  content_.metadata.clear();
  content_.tensors.set("__metadata__", at::zeros({2}));
  EXPECT_THAT(message_of_writing(path), testing::HasSubstr("may not be called"));
  EXPECT_EQ(files(), 0U);
}

}  // namespace
}  // namespace bunchtrain::weights
