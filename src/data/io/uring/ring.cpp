// SPDX-License-Identifier: Apache-2.0
#include "ring.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <numeric>
#include <utility>

#include "io/uring_engine.hpp"

namespace bunchtrain::data::io {
/// Cuts pieces into what one read brings.
class Ring::Cutter {
 public:
  Cutter(std::span<const Piece> pieces, std::span<std::byte> out) : pieces_(pieces), out_(out) {}

  bool is_empty() const { return pieces_.empty(); }

  /// The next bytes; they end where an aligned block that begins at or before them does.
  Ring::Part next() {
    const Piece& piece = pieces_.front();
    const std::uint64_t offset = piece.offset + done_;
    const auto bytes = static_cast<std::size_t>(
        std::min<std::uint64_t>(piece.bytes - done_, Ring::kBlockBytes - offset % Ring::kAlignment));
    const Ring::Part part{
        .file = static_cast<const FileBytes*>(piece.source), .offset = offset, .out = out_.first(bytes)};
    out_ = out_.subspan(bytes);
    done_ += bytes;
    if (done_ == piece.bytes) {
      pieces_ = pieces_.subspan(1);
      done_ = 0;
    }
    return part;
  }

 private:
  std::span<const Piece> pieces_;
  std::span<std::byte> out_;
  std::uint64_t done_ = 0;  // of the first piece
};

int Ring::probe() {
  io_uring ring{};
  const int result = io_uring_queue_init(1, &ring, 0);
  if (result == 0) io_uring_queue_exit(&ring);
  return -result;
}

std::unique_ptr<Ring> Ring::create() {
  auto ring = std::unique_ptr<Ring>(new Ring);
  ring->slab_.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, kBlocks * kBlockBytes)));
  if (!ring->slab_) return nullptr;
  if (io_uring_queue_init(kBlocks, &ring->ring_, 0) != 0) {
    ring->ring_.ring_fd = -1;
    return nullptr;
  }
  ring->register_all();
  ring->free_.resize(kBlocks);
  std::iota(ring->free_.begin(), ring->free_.end(), 0U);
  return ring;
}

Ring::~Ring() {
  if (ring_.ring_fd > 0) io_uring_queue_exit(&ring_);
  if (broken_) (void)slab_.release();  // a read may still arrive there
}

// Saves the kernel a look-up per read; limits on locked memory, or its age, may forbid it.
void Ring::register_all() {
  const iovec all{.iov_base = slab_.get(), .iov_len = kBlocks * kBlockBytes};
  memory_registered_ = io_uring_register_buffers(&ring_, &all, 1) == 0;
  files_registered_ = io_uring_register_files_sparse(&ring_, kFiles) == 0;
}

// Blocks belong to the ring, so that a read that is late overwrites nobody's memory.
void Ring::read(std::span<const Piece> pieces, std::span<std::byte> out) {
  Cutter rest(pieces, out);
  std::vector<Part> failed;
  while (!rest.is_empty() || free_.size() < kBlocks) {
    while (!rest.is_empty() && !free_.empty()) {
      const Part part = rest.next();
      if (!begin(free_.back(), part)) {
        failed.push_back(part);
      } else {
        free_.pop_back();
      }
    }
    if (free_.size() == kBlocks) break;
    if (!wait()) {
      give_up(failed);
      while (!rest.is_empty()) {
        failed.push_back(rest.next());
      }
      break;
    }
    io_uring_cqe* completion = nullptr;
    while (io_uring_peek_cqe(&ring_, &completion) == 0) {
      finish(static_cast<unsigned>(io_uring_cqe_get_data64(completion)), completion->res, failed);
      io_uring_cqe_seen(&ring_, completion);
    }
  }
  open_ = {};
  for (const Part& part : failed) part.file->read(part.offset, part.out);
}

void Ring::open(const FileBytes& file) {
  open_ = {.file = &file, .descriptor = file.direct_descriptor(), .direct = true};
  if (!open_.descriptor) open_ = {.file = &file, .descriptor = file.descriptor(), .direct = false};
}

// The kernel takes no more requests: what is under way is read again, in another way.
void Ring::give_up(std::vector<Part>& failed) {
  broken_ = true;
  for (unsigned number = 0; number < kBlocks; ++number)
    if (std::ranges::find(free_, number) == free_.end()) failed.push_back(reads_[number].part);
}

// False if it cannot be read in this way.
bool Ring::begin(unsigned number, const Part& part) {
  try {
    if (open_.file != part.file || (open_.direct && part.file->direct_refused())) open(*part.file);
  } catch (const std::exception&) {
    open_ = {};
    return false;  // pread will say what is wrong
  }
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  if (entry == nullptr) return false;
  Read& read = reads_[number];
  read.part = part;
  read.descriptor = open_.descriptor;
  read.direct = open_.direct;
  read.begin = part.offset / kAlignment * kAlignment;
  const std::uint64_t end = part.offset + part.out.size();
  const auto bytes = static_cast<unsigned>((end - read.begin + kAlignment - 1) / kAlignment * kAlignment);
  read.registered = registered_place(read.descriptor);
  const int file = read.registered >= 0 ? read.registered : read.descriptor->number();
  if (memory_registered_)
    io_uring_prep_read_fixed(entry, file, block(number), bytes, read.begin, 0);
  else
    io_uring_prep_read(entry, file, block(number), bytes, read.begin);
  if (read.registered >= 0) {
    ++uses_[static_cast<std::size_t>(read.registered)];
    entry->flags |= IOSQE_FIXED_FILE;
  }
  io_uring_sqe_set_data64(entry, number);
  return true;
}

// A place is given to another file while no read is under way from it.
int Ring::registered_place(const std::shared_ptr<const FileDescriptor>& descriptor) {
  if (!files_registered_) return -1;
  const auto found = std::ranges::find(files_, descriptor);
  if (found != files_.end()) return static_cast<int>(found - files_.begin());
  for (unsigned tried = 0; tried < kFiles; ++tried) {
    const unsigned place = next_file_;
    next_file_ = (next_file_ + 1) % kFiles;
    if (uses_[place] != 0) continue;
    const int number = descriptor->number();
    if (io_uring_register_files_update(&ring_, place, &number, 1) != 1) return -1;
    files_[place] = descriptor;
    return static_cast<int>(place);
  }
  return -1;
}

bool Ring::wait() {
  for (;;) {
    const int result = io_uring_submit_and_wait(&ring_, 1);
    if (result >= 0) return true;
    if (result == -EAGAIN || result == -EBUSY) {  // too many under way: those have to come first
      io_uring_cqe* completion = nullptr;
      if (io_uring_sq_ready(&ring_) < kBlocks - free_.size())
        return io_uring_wait_cqe(&ring_, &completion) == 0;
      return false;
    }
    if (result != -EINTR) return false;
  }
}

void Ring::finish(unsigned number, int result, std::vector<Part>& failed) {
  Read& read = reads_[number];
  if (read.direct && uring_faults().direct) result = -EINVAL;
  if (read.direct && (result == -EINVAL || result == -EOPNOTSUPP)) read.part.file->refuse_direct();
  const std::uint64_t skipped = read.part.offset - read.begin;
  const bool whole = result >= 0 && static_cast<std::uint64_t>(result) >= skipped + read.part.out.size();
  if (whole) {
    std::memcpy(read.part.out.data(), block(number) + skipped, read.part.out.size());
  } else {
    failed.push_back(read.part);
  }
  if (read.registered >= 0) --uses_[static_cast<std::size_t>(read.registered)];
  read.descriptor.reset();
  free_.push_back(number);
}

}  // namespace bunchtrain::data::io
