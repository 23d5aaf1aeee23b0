/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIXFUSE_H
#define MIXFUSE_H

/* mixfuse in C: (spec, draw) -> plan -> mixed batch -> mixed labels.
 *
 * Batches are DLTensors in memory that the caller owns; only their metadata is read before work is
 * queued. Pinned memory counts as the CPU's, managed memory as CUDA's. Every function returns as
 * soon as its work is queued, on a CPU queue when it is done, unless it says that it waits.
 *
 * Errors: a function returns MIXFUSE_OK, or else nothing was queued or written, and
 * mixfuse_last_error() names the argument, its value and what was expected. A NULL where none is
 * allowed is MIXFUSE_INVALID_ARGUMENT, for every function. No C++ exception passes through.
 *
 * Versions: a parameter structure starts with its size, which the functions below that make one
 * have set; all that they do not set is 0 or NULL, which stands for "not used". A library that is
 * newer than its caller still takes the smaller structure; an older one refuses the larger
 * (MIXFUSE_UNSUPPORTED). Records (mixfuse_draw, mixfuse_row, mixfuse_error_word) are data, may lie
 * in device memory, and do not change.
 *
 * Threads: a handle serves one thread at a time; a second one is refused
 * (MIXFUSE_INVALID_ARGUMENT) and the first goes on. Different handles run side by side. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mixfuse/dlpack.h"
#include "mixfuse/export.hpp" /* one macro, C as well as C++ */

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Status ------------------------------------------------------------------------------- */

typedef enum mixfuse_status {
  MIXFUSE_OK = 0,
  MIXFUSE_INVALID_ARGUMENT = 1, /* the call is wrong */
  MIXFUSE_UNSUPPORTED = 2,      /* it is legal, but this build or this version does not do it */
  MIXFUSE_CUDA_ERROR = 3,       /* CUDA refused; mixfuse_last_cuda_error() says its code */
  MIXFUSE_OUT_OF_MEMORY = 4,    /* of the host; the device's is a CUDA error */
  MIXFUSE_INTERNAL = 5
} mixfuse_status;

/* Text of the last call on this thread that failed, under 512 bytes; "" before. Valid until the
   next one fails. */
MIXFUSE_EXPORT const char* mixfuse_last_error(void);
/* The cudaError_t of the last call on this thread that failed; 0 if it was none of CUDA's. */
MIXFUSE_EXPORT int mixfuse_last_cuda_error(void);

/* ---- What this library is ----------------------------------------------------------------- */

/* "major.minor.patch" */
MIXFUSE_EXPORT const char* mixfuse_version(void);
/* Number of the drawn bits: it changes whenever any drawn bit, pixel or target does. */
MIXFUSE_EXPORT int mixfuse_stream_version(void);

typedef struct mixfuse_cuda_info {
  uint32_t struct_size;
  int32_t built;   /* 1: the library has the CUDA backend */
  int32_t devices; /* 0 when `absent` says why */
  int32_t driver;  /* as cudaDriverGetVersion, 0 without a driver */
  int32_t runtime; /* as cudaRuntimeGetVersion */
  const char*
      architectures;  /* those that the kernels were built for; lives as long as the process */
  const char* absent; /* why there is no device, "" when there is one; likewise */
} mixfuse_cuda_info;

/* `info->struct_size` is set before the call. Asks CUDA once per process. */
MIXFUSE_EXPORT mixfuse_status mixfuse_get_cuda_info(mixfuse_cuda_info* info);

/* 1: each CUDA tensor's address is looked up before a call, so that a host pointer or one of
   another device is MIXFUSE_INVALID_ARGUMENT. Off unless MIXFUSE_CHECKED=1 is in the environment
   when the library is first used. */
MIXFUSE_EXPORT void mixfuse_set_checked(int on);

/* ---- Where work is queued ----------------------------------------------------------------- */

typedef struct mixfuse_queue {
  uint32_t struct_size;
  int32_t device_type; /* kDLCPU or kDLCUDA */
  int32_t threads;     /* of a CPU queue: 0 is as many as OpenMP would take */
  void* stream;        /* of a CUDA queue: the cudaStream_t; NULL is the legacy default stream */
} mixfuse_queue;

static inline mixfuse_queue mixfuse_cpu_queue(int32_t threads) {
  mixfuse_queue queue;
  memset(&queue, 0, sizeof queue);
  queue.struct_size = (uint32_t)sizeof queue;
  queue.device_type = kDLCPU;
  queue.threads = threads;
  return queue;
}

static inline mixfuse_queue mixfuse_cuda_queue(void* stream) {
  mixfuse_queue queue;
  memset(&queue, 0, sizeof queue);
  queue.struct_size = (uint32_t)sizeof queue;
  queue.device_type = kDLCUDA;
  queue.stream = stream;
  return queue;
}

/* ---- What to do --------------------------------------------------------------------------- */

/* Which axes of a batch are which; the first is the sample. Boxes lie on f, on t, on h and w (every
   frame of a video alike), or on d, h and w. Flips mirror w. */
enum mixfuse_layout {
  MIXFUSE_LAYOUT_BY_RANK = 0, /* nf, nct, nchw, ncdhw */
  MIXFUSE_LAYOUT_NF = 1,
  MIXFUSE_LAYOUT_NCT = 2,
  MIXFUSE_LAYOUT_NCHW = 3,
  MIXFUSE_LAYOUT_NHWC = 4,
  MIXFUSE_LAYOUT_NTCHW = 5,
  MIXFUSE_LAYOUT_NCDHW = 6
};

/* The rule that chooses a sample's partner, inside its group or, without groups, its batch. */
enum mixfuse_pairing {
  MIXFUSE_PAIRING_PERMUTATION = 0, /* uniform over all B! permutations */
  MIXFUSE_PAIRING_CYCLE = 1,       /* uniform over the (B-1)! cycles; nobody meets itself */
  MIXFUSE_PAIRING_PAIRS = 2,       /* uniform random matching; an odd one meets itself */
  MIXFUSE_PAIRING_REVERSE = 3,     /* i with B-1-i, as timm */
  MIXFUSE_PAIRING_ROLL = 4,        /* i with i-1, as torchvision */
  MIXFUSE_PAIRING_REPLACEMENT = 5, /* each partner independent and uniform */
  MIXFUSE_PAIRING_GIVEN = 6        /* the caller's: mixfuse_plan_into_given */
};

/* What lambda, policy, gate and box are drawn once for. `pair` needs reverse or pairs. */
enum mixfuse_granularity {
  MIXFUSE_GRANULARITY_BATCH = 0,
  MIXFUSE_GRANULARITY_PAIR = 1,
  MIXFUSE_GRANULARITY_SAMPLE = 2
};

/* Which side gets the larger share; acts on the drawn lambda, before any box. */
enum mixfuse_fold { MIXFUSE_FOLD_NONE = 0, MIXFUSE_FOLD_OWN = 1, MIXFUSE_FOLD_PARTNER = 2 };

/* Where a CutMix box lies. On d axes of lengths L its side is the largest integer s with
   s^d <= (1 - lambda) L^d. */
enum mixfuse_boxes {
  MIXFUSE_BOXES_PAPER = 0,   /* 2 floor(s/2) about a centre uniform in 0..L-1, clipped */
  MIXFUSE_BOXES_INSIDE = 1,  /* s, origin uniform in 0..L-s */
  MIXFUSE_BOXES_UNIFORM = 2, /* as paper, each pixel covered equally often */
  MIXFUSE_BOXES_MIN_MAX = 3  /* sides uniform in floor(L lo)..floor(L hi); lambda is not used */
};

enum mixfuse_policy_kind {
  MIXFUSE_POLICY_MIXUP = 0, /* one weight for the whole sample */
  MIXFUSE_POLICY_CUTMIX = 1 /* a box of the partner, pasted in */
};

typedef struct mixfuse_policy {
  uint32_t struct_size;
  int32_t kind;      /* a mixfuse_policy_kind */
  float probability; /* of being chosen, 0 to 1; what policies together leave to 1 is identity */
  float a;           /* lambda ~ Beta(a, b), 1e-6 to 1e6; both 0: the policy is off */
  float b;
  int32_t fold;  /* a mixfuse_fold */
  int32_t boxes; /* of CutMix: a mixfuse_boxes */
  double lo;     /* of min-max boxes, 0 <= lo <= hi <= 1 */
  double hi;
} mixfuse_policy;

/* Beta(1, 1), no fold, the paper's boxes, probability 1. */
static inline mixfuse_policy mixfuse_make_policy(int32_t kind) {
  mixfuse_policy policy;
  memset(&policy, 0, sizeof policy);
  policy.struct_size = (uint32_t)sizeof policy;
  policy.kind = kind;
  policy.probability = 1.0f;
  policy.a = 1.0f;
  policy.b = 1.0f;
  policy.hi = 1.0;
  return policy;
}

typedef struct mixfuse_spec {
  uint32_t struct_size;
  uint32_t policy_count; /* at most 8 */
  const mixfuse_policy* policies;
  float probability;   /* share that is mixed at all */
  float flip;          /* probability of a horizontal flip, per sample */
  int32_t pairing;     /* a mixfuse_pairing */
  int32_t granularity; /* a mixfuse_granularity */
  int64_t group;       /* pairing group, cut at multiples of it of the global index; 0: none */
} mixfuse_spec;

/* The policies, whose array must outlive the spec; probability 1, permutation, drawn per sample. */
static inline mixfuse_spec mixfuse_make_spec(const mixfuse_policy* policies, uint32_t count) {
  mixfuse_spec spec;
  memset(&spec, 0, sizeof spec);
  spec.struct_size = (uint32_t)sizeof spec;
  spec.policy_count = count;
  spec.policies = policies;
  spec.probability = 1.0f;
  spec.granularity = MIXFUSE_GRANULARITY_SAMPLE;
  return spec;
}

/* The only source of randomness. A record. */
typedef struct mixfuse_draw {
  uint64_t seed;  /* used as given */
  uint64_t step;  /* below 2^48 */
  uint64_t first; /* global index of the batch's first sample; first + B <= 2^48 */
} mixfuse_draw;

/* What may change from step to step without a new call: each in the memory where the plan lives,
   read when a plan is drawn, instead of the spec's; NULL: the spec's. */
typedef struct mixfuse_schedule {
  uint32_t struct_size;
  const float* weights;       /* a and b of each policy */
  const float* probabilities; /* one a policy */
  const float* probability;   /* share that is mixed at all */
} mixfuse_schedule;

static inline mixfuse_schedule mixfuse_make_schedule(void) {
  mixfuse_schedule schedule;
  memset(&schedule, 0, sizeof schedule);
  schedule.struct_size = (uint32_t)sizeof schedule;
  return schedule;
}

/* What a plan must know of a batch. */
typedef struct mixfuse_extents {
  uint32_t struct_size;
  int32_t axes;  /* spatial axes, 1 to 3 */
  int32_t width; /* 1: the last of them is w, which flips mirror */
  int64_t samples;
  int64_t spatial[3]; /* their lengths: f, t, h w, or d h w */
} mixfuse_extents;

static inline mixfuse_extents mixfuse_make_extents(void) {
  mixfuse_extents extents;
  memset(&extents, 0, sizeof extents);
  extents.struct_size = (uint32_t)sizeof extents;
  return extents;
}

/* Of a batch of images in the layout. `extents->struct_size` is set before the call. */
MIXFUSE_EXPORT mixfuse_status mixfuse_extents_of(const DLTensor* images, int32_t layout,
                                                 mixfuse_extents* extents);

/* ---- The plan ----------------------------------------------------------------------------- */

/* The rows of a batch in the memory where the work runs. */
typedef struct mixfuse_plan mixfuse_plan;

/* All that a kernel knows about one sample. A record. */
typedef struct mixfuse_row {
  int32_t partner; /* the sample mixed into this one, 0..B-1 */
  float outside;   /* weight of this sample outside the box, 0 to 1 */
  float inside;    /* and inside */
  float label;     /* weight of this sample's label */
  uint32_t flip;   /* 1: this sample is read mirrored, as own and as partner */
  int32_t lo[3];   /* half-open box on the spatial axes; entries beyond them are 0; */
  int32_t hi[3];   /* empty if any lo == hi */
} mixfuse_row;

/* Bytes of memory that a plan, or a mixer, for up to `capacity` samples (at most 2^31 - 1) needs on
   the device. CUDA: asks the device. */
MIXFUSE_EXPORT mixfuse_status mixfuse_plan_bytes(int64_t capacity, DLDevice device, size_t* bytes);

/* A plan for up to `capacity` samples in `memory` on the device: at least mixfuse_plan_bytes(),
   aligned to 256 bytes, the caller's until the plan is destroyed. With `memory` NULL and
   `memory_size` 0 the plan allocates its own, the only allocation on a device that there is.
   Cleared on `queue`. */
MIXFUSE_EXPORT mixfuse_status mixfuse_plan_create(int64_t capacity, DLDevice device, void* memory,
                                                  size_t memory_size, const mixfuse_queue* queue,
                                                  mixfuse_plan** plan);

/* Work that is queued must have ended. NULL is nothing to do. */
MIXFUSE_EXPORT mixfuse_status mixfuse_plan_destroy(mixfuse_plan* plan);

/* Draws the rows of a batch. */
MIXFUSE_EXPORT mixfuse_status mixfuse_plan_into(mixfuse_plan* plan, const mixfuse_spec* spec,
                                                const mixfuse_extents* batch,
                                                const mixfuse_draw* draw,
                                                const mixfuse_queue* queue);

/* The same from a draw that lives where the plan does: read, then its step advanced by one, so that
   in a CUDA graph each replay draws anew. Plan n is the one that mixfuse_plan_into gives with the
   step + n. Values there that are out of range set the error word and leave samples unmixed.
   `schedule` may be NULL. */
MIXFUSE_EXPORT mixfuse_status mixfuse_plan_into_live(mixfuse_plan* plan, const mixfuse_spec* spec,
                                                     const mixfuse_extents* batch,
                                                     mixfuse_draw* live,
                                                     const mixfuse_schedule* schedule,
                                                     const mixfuse_queue* queue);

/* The same with MIXFUSE_PAIRING_GIVEN: `partners` (B,), int32 or int64, on the plan's device. On
   the CPU a partner outside 0..B-1 is refused; on CUDA that sample is left unmixed and the error
   word says so. */
MIXFUSE_EXPORT mixfuse_status mixfuse_plan_into_given(mixfuse_plan* plan, const mixfuse_spec* spec,
                                                      const mixfuse_extents* batch,
                                                      const mixfuse_draw* draw,
                                                      const DLTensor* partners,
                                                      const mixfuse_queue* queue);

/* Takes rows made by hand: B of them in host memory, free to be reused on return. `draw` is kept
   for the error word. Waits for the upload. */
MIXFUSE_EXPORT mixfuse_status mixfuse_plan_into_rows(mixfuse_plan* plan, const mixfuse_row* rows,
                                                     const mixfuse_extents* batch,
                                                     const mixfuse_draw* draw,
                                                     const mixfuse_queue* queue);

/* Copies the B rows, in sample order, to host memory with room for `count` of them, at least B.
   Waits for the queue. */
MIXFUSE_EXPORT mixfuse_status mixfuse_read_rows(const mixfuse_plan* plan, mixfuse_row* rows,
                                                int64_t count, const mixfuse_queue* queue);

/* Where the rows lie on the plan's device, in sample order. */
MIXFUSE_EXPORT mixfuse_status mixfuse_plan_rows(const mixfuse_plan* plan, const mixfuse_row** rows);

/* Of the batch that the plan is for; 0 samples before the first. `batch->struct_size` is set before
   the call. */
MIXFUSE_EXPORT mixfuse_status mixfuse_plan_extents(const mixfuse_plan* plan,
                                                   mixfuse_extents* batch);

/* What only the device can find out, kept in the plan's memory until it is cleared: the first bad
   step, and the smallest bad sample in it. A record, read by the functions below. */
typedef struct mixfuse_error_word {
  uint64_t claim;
  uint64_t first;
} mixfuse_error_word;

enum mixfuse_error_code {
  MIXFUSE_ERROR_NONE = 0,
  MIXFUSE_ERROR_PARTNER = 1,       /* given partner outside 0..B-1: the sample was left unmixed */
  MIXFUSE_ERROR_LABEL = 2,         /* class id outside 0..K-1: its share was left out */
  MIXFUSE_ERROR_PARTNER_LABEL = 3, /* the same in a second batch; the sample counts there */
  MIXFUSE_ERROR_DRAW = 4,          /* live step or index beyond 2^48: nothing was mixed */
  MIXFUSE_ERROR_PROBABILITY = 5,   /* scheduled one outside 0..1, or above 1 together: as draw */
  MIXFUSE_ERROR_WEIGHT = 6         /* scheduled one that Beta does not take: its policy was off */
};

/* Copies the error word to `word` in host memory, asynchronously on a CUDA queue (`word` should
   then be pinned). */
MIXFUSE_EXPORT mixfuse_status mixfuse_error_into(mixfuse_error_word* word, const mixfuse_plan* plan,
                                                 const mixfuse_queue* queue);
/* Makes the plan forget its error. */
MIXFUSE_EXPORT mixfuse_status mixfuse_clear_error(mixfuse_plan* plan, const mixfuse_queue* queue);

/* A mixfuse_error_code, the step and the sample of an error word: MIXFUSE_ERROR_NONE, 0 and -1
   without an error. `word` is not NULL. */
MIXFUSE_EXPORT int mixfuse_error_code_of(const mixfuse_error_word* word);
MIXFUSE_EXPORT uint64_t mixfuse_error_step_of(const mixfuse_error_word* word);
MIXFUSE_EXPORT int64_t mixfuse_error_sample_of(const mixfuse_error_word* word);

/* ---- Mixing ------------------------------------------------------------------------------- */

/* How class ids become targets. */
typedef struct mixfuse_label_rule {
  uint32_t struct_size;
  float smoothing;        /* off = s/K, on = 1 - s + s/K; ids with dense targets only */
  int64_t classes;        /* K of sparse targets; dense targets say theirs by their shape */
  const int64_t* ignored; /* an id whose share is left out without an error; NULL: none */
} mixfuse_label_rule;

static inline mixfuse_label_rule mixfuse_make_label_rule(void) {
  mixfuse_label_rule rule;
  memset(&rule, 0, sizeof rule);
  rule.struct_size = (uint32_t)sizeof rule;
  return rule;
}

/* One affine map per channel, applied to each mixed value before it is rounded and stored:
   fma(v, 1 / (255 std), -mean / std) for uint8 images, fma(v, 1 / std, -mean / std) for floats. */
typedef struct mixfuse_normalise {
  uint32_t struct_size;
  int32_t channels; /* 1: one map for all; else as many as the images have, at most 32 */
  const double* mean;
  const double* std;
} mixfuse_normalise;

static inline mixfuse_normalise mixfuse_make_normalise(int32_t channels, const double* mean,
                                                       const double* std) {
  mixfuse_normalise normalise;
  memset(&normalise, 0, sizeof normalise);
  normalise.struct_size = (uint32_t)sizeof normalise;
  normalise.channels = channels;
  normalise.mean = mean;
  normalise.std = std;
  return normalise;
}

/* The batch that is read. Where `partners` are given, partners come from that second batch of the
   same shape, and their labels from `labels_partners`. */
typedef struct mixfuse_originals {
  uint32_t struct_size;
  int32_t layout; /* of images and partners: a mixfuse_layout */
  const DLTensor* images;
  const DLTensor* partners;
  const DLTensor* labels; /* ids (B,): uint8, int32, int64; or rows (B, K): floats, bool */
  const DLTensor* labels_partners;
  const mixfuse_label_rule* rule; /* NULL: no smoothing, no ignored id */
  const mixfuse_normalise* normalise;
} mixfuse_originals;

static inline mixfuse_originals mixfuse_make_originals(void) {
  mixfuse_originals originals;
  memset(&originals, 0, sizeof originals);
  originals.struct_size = (uint32_t)sizeof originals;
  return originals;
}

/* The batch that is written. Targets are dense (`targets`) or sparse (the three below it). */
typedef struct mixfuse_mixed {
  uint32_t struct_size;
  int32_t layout;              /* of images, which may differ from the originals' */
  const DLTensor* images;      /* errors call it `out`, in place `images` */
  const DLTensor* targets;     /* (B, K): float32, float16, bfloat16; of float rows their dtype */
  const DLTensor* targets_own; /* (B,) int64, class of the own sample */
  const DLTensor* targets_partner; /* (B,) int64, class of the partner */
  const DLTensor* targets_weight;  /* (B,) float32, share of the own class */
} mixfuse_mixed;

static inline mixfuse_mixed mixfuse_make_mixed(void) {
  mixfuse_mixed mixed;
  memset(&mixed, 0, sizeof mixed);
  mixed.struct_size = (uint32_t)sizeof mixed;
  return mixed;
}

/* out[i] = w in[i] + (1 - w) in[partner of i], w the row's weight inside or outside its box.
   Images have the shape of the plan's batch; dtypes: same to same for uint8, float16, bfloat16,
   float32, float64; uint8 to float16, bfloat16, float32; float32 to float16, bfloat16; normalised
   only to floats. Out of place: nothing overlaps. Uses images, partners and normalise; labels and
   targets are not looked at. */
MIXFUSE_EXPORT mixfuse_status mixfuse_mix_into(const mixfuse_mixed* out,
                                               const mixfuse_originals* in, mixfuse_plan* plan,
                                               const mixfuse_queue* queue);

/* The same over `images`. The plan's partners must be a permutation. */
MIXFUSE_EXPORT mixfuse_status mixfuse_mix_in_place(const DLTensor* images, int32_t layout,
                                                   mixfuse_plan* plan, const mixfuse_queue* queue);

/* target[i] = l label[i] + (1 - l) label[partner of i], l the row's `label`. An id outside 0..K-1
   leaves its share out (-1 in sparse targets) and sets the plan's error word. Uses labels and rule;
   images are not looked at. */
MIXFUSE_EXPORT mixfuse_status mixfuse_label_into(const mixfuse_mixed* out,
                                                 const mixfuse_originals* in, mixfuse_plan* plan,
                                                 const mixfuse_queue* queue);

/* mixfuse_mix_into and mixfuse_label_into in one launch. */
MIXFUSE_EXPORT mixfuse_status mixfuse_step_into(const mixfuse_mixed* out,
                                                const mixfuse_originals* in, mixfuse_plan* plan,
                                                const mixfuse_queue* queue);

/* The same with `inout`'s images mixed in place; of `in` labels and rule alone may be given. */
MIXFUSE_EXPORT mixfuse_status mixfuse_step_in_place(const mixfuse_mixed* inout,
                                                    const mixfuse_originals* in, mixfuse_plan* plan,
                                                    const mixfuse_queue* queue);

/* ---- A training step in one call ---------------------------------------------------------- */

/* A plan, and a draw beside it that goes on by itself. On a GPU a mixup step is one launch, which
   also draws the plan of the step after. A plan by itself and a mix are launched in place, for
   boxes and flips (but of small batches), above 1024 samples, with a schedule, and where images are
   not dense and aligned. It allocates nothing on the device and does not wait, so it can be
   captured in a CUDA graph, each replay of which is the next step. A draw is all that a checkpoint
   needs. */
typedef struct mixfuse_mixer mixfuse_mixer;

/* For batches of up to `capacity` samples; the first step is drawn by `first`. The spec is copied.
   `memory` and `memory_size` as for mixfuse_plan_create. */
MIXFUSE_EXPORT mixfuse_status mixfuse_mixer_create(const mixfuse_spec* spec,
                                                   const mixfuse_draw* first, int64_t capacity,
                                                   DLDevice device, void* memory,
                                                   size_t memory_size, const mixfuse_queue* queue,
                                                   mixfuse_mixer** mixer);

/* Work that is queued must have ended. NULL is nothing to do. */
MIXFUSE_EXPORT mixfuse_status mixfuse_mixer_destroy(mixfuse_mixer* mixer);

/* Draws a plan for the batch, mixes by it as mixfuse_step_into, and advances the draw. */
MIXFUSE_EXPORT mixfuse_status mixfuse_mixer_step(mixfuse_mixer* mixer, const mixfuse_mixed* out,
                                                 const mixfuse_originals* in,
                                                 const mixfuse_queue* queue);

/* The same as mixfuse_step_in_place. */
MIXFUSE_EXPORT mixfuse_status mixfuse_mixer_step_in_place(mixfuse_mixer* mixer,
                                                          const mixfuse_mixed* inout,
                                                          const mixfuse_originals* in,
                                                          const mixfuse_queue* queue);

/* Follows the schedule from the next step on; NULL: the spec alone. */
MIXFUSE_EXPORT mixfuse_status mixfuse_mixer_follow(mixfuse_mixer* mixer,
                                                   const mixfuse_schedule* schedule);

/* The next step is drawn by `draw`. One launch; captured, each replay sets it again. */
MIXFUSE_EXPORT mixfuse_status mixfuse_mixer_set_draw(mixfuse_mixer* mixer, const mixfuse_draw* draw,
                                                     const mixfuse_queue* queue);

/* Copies the draw of the next step to `draw` in host memory, asynchronously on a CUDA queue (`draw`
   should then be pinned). */
MIXFUSE_EXPORT mixfuse_status mixfuse_mixer_draw_into(const mixfuse_mixer* mixer,
                                                      mixfuse_draw* draw,
                                                      const mixfuse_queue* queue);
/* The same, waited for. */
MIXFUSE_EXPORT mixfuse_status mixfuse_mixer_read_draw(const mixfuse_mixer* mixer,
                                                      mixfuse_draw* draw,
                                                      const mixfuse_queue* queue);

/* The plan of the last step, for mixfuse_read_rows, mixfuse_plan_rows, mixfuse_plan_extents and
   mixfuse_error_into. It lives as long as the mixer. */
MIXFUSE_EXPORT mixfuse_status mixfuse_mixer_plan(const mixfuse_mixer* mixer,
                                                 const mixfuse_plan** plan);
/* Makes that plan forget its error. */
MIXFUSE_EXPORT mixfuse_status mixfuse_mixer_clear_error(mixfuse_mixer* mixer,
                                                        const mixfuse_queue* queue);

#ifdef __cplusplus
}
#endif

#endif
