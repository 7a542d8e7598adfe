// SPDX-License-Identifier: Apache-2.0
#pragma once
/// Which way each convolution goes on a GPU: LibTorch's (cuDNN), or kernels of ours, by what they took at the start of a run.

#include <c10/core/Device.h>

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace bunchtrain::ops {

enum class ConvolutionWay { library, direct };

/// What was chosen for one computation of a layer, and why.
struct ConvolutionChoice {
  ConvolutionWay way = ConvolutionWay::library;
  double library_seconds = 0, direct_seconds = 0;  ///< 0: not measured
};

/// Ours where they save more than the thirtieth part, which times of one kernel differ by.
ConvolutionWay faster_way(double library_seconds, double direct_seconds) noexcept;

/// The choices of a process, by layer and pass. Nothing is measured unless somebody asks for it: what is not known goes
/// LibTorch's way. Thread-safe.
class ConvolutionChoices {
 public:
  /// How long `work` takes on a device, once it has run before.
  using Timer = std::function<double(c10::Device device, const std::function<void()>& work)>;
  /// Without a timer: the mean of five calls behind two, by the device's own time.
  explicit ConvolutionChoices(Timer timer = {});

  /// Whether what is not known is measured when it is met.
  void measure(bool on);
  /// Whatever is known, for comparisons of the two; nullopt: as chosen.
  void always(std::optional<ConvolutionWay> way);

  /// The way kept under `name`, or measured with `library` and `direct` and kept.
  ConvolutionWay choose(const std::string& name, c10::Device device, const std::function<void()>& library,
                        const std::function<void()>& direct);

  std::map<std::string, ConvolutionChoice> all() const;
  /// Forgets what was known for these: of an earlier process of a run, or of its first rank.
  void keep(std::map<std::string, ConvolutionChoice> choices);

 private:
  Timer timer_;
  mutable std::mutex mutex_;
  bool measures_ = false;
  std::optional<ConvolutionWay> always_;
  std::map<std::string, ConvolutionChoice> choices_;
};

/// That `conv3d` and `upsampled_conv3d` ask.
ConvolutionChoices& convolution_choices();

}  // namespace bunchtrain::ops
