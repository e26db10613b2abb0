// One step of an optimizer over a list of tensors, in one parallel region and, where a norm is
// asked for, one more before it.
#pragma once

#include "ops/walk.hpp"
#include "parallel/near_blocks.hpp"

#include <cstdint>
#include <optional>
#include <vector>

namespace softstep::ops {

enum class Rule { kSgd, kAdamw };
enum class Storage : unsigned char { kFloat32, kFloat64, kFloat16, kBFloat16 };

// The arrays of a parameter. The states are momentum; or the first and second moment, and the
// largest second one so far.
enum Role : std::size_t { kParam, kGrad, kState, kSecondState, kThirdState, kMaster, kRoles };
inline constexpr std::size_t kMostStates = kMaster - kState;
using UpdateWalk = Walk<kRoles>;

struct UpdateTensor {
  UpdateWalk walk;
  Storage storage;
  Storage grad_storage;  // that of the parameter, or float32 for half precision
  Storage state_storage; // of the first state; the others are float32 or float64
  bool has_master;
  std::size_t group;
  std::int64_t ndim;
};

// What holds for a group of tensors in a step: the numbers of every rule, and those of its own.
struct UpdateGroup {
  struct Sgd {
    double momentum, dampening;
    bool nesterov;
  };
  struct Adamw {
    double beta1, beta2, eps;
    bool amsgrad;
  };
  double lr, weight_decay;
  bool decoupled, decay_by_lr, maximize;
  std::int64_t min_decay_ndim;
  Sgd sgd;
  Adamw adamw;
  std::size_t states; // how many of the rule's states the step reads and writes
};

// The 2-norm of all gradients.
struct GradientNorm {
  double value; // infinite also where finite gradients have a norm beyond the range of double
  bool finite;  // all gradients are
};

struct UpdateRequest {
  std::vector<UpdateGroup> groups;
  std::optional<double> max_norm;
  bool skip_nonfinite;
  double grad_scale;
  bool zero_grads;
  std::optional<std::uint64_t> seed; // of rounding by chance
  std::uint64_t step;
  std::optional<GradientNorm> norm; // of gradients that are not all here
};

struct UpdateResult {
  std::optional<double> norm; // of the unscaled gradients, before clipping
  bool skipped;
};

class Update {
public:
  Update(Rule rule, std::vector<UpdateTensor> tensors);

  UpdateTensor& tensor(std::size_t k) { return tensors_[k]; }

  // Cuts the tensors that have gradients into blocks: small ones are joined, large ones divided.
  // What is allocated is allocated here. Needed before run() when they have changed.
  void cut(std::vector<char> active);

  // counts: the steps that the state of each tensor has seen; 0: it holds nothing yet. Counted up
  // unless the step is skipped.
  UpdateResult run(const UpdateRequest& request, std::int64_t* counts);

private:
  struct Piece {
    std::size_t tensor;
    Size begin, end;
  };
  struct Coefficients {
    SgdOptions sgd;
    AdamwOptions adamw;
    std::size_t states; // that the step reads and writes
    bool first;         // these hold nothing yet
  };

  template <class Body> void for_each_piece(double element_ns, bool backwards, Body&& body);
  double squared_norm(double factor);
  GradientNorm norm();
  void set_coefficients(const UpdateRequest& request, double gradient_factor,
                        const std::int64_t* counts);

  Rule rule_;
  std::vector<UpdateTensor> tensors_;
  std::vector<char> active_; // has a gradient
  std::vector<Piece> pieces_;
  std::vector<std::size_t> blocks_; // the first piece of each, and the end
  std::vector<double> sums_;        // one for each block
  std::vector<Coefficients> coefficients_;
  Size elements_ = 0;
  parallel::NearBlocks near_;
};

} // namespace softstep::ops
