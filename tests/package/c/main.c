/* SPDX-License-Identifier: Apache-2.0 */

/* A C11 program: mixes a batch on the CPU, checks what came out, and ends with 0 if it is right. */

#include <mixfuse/mixfuse.h>
#include <stdio.h>

enum { samples = 4, channels = 1, height = 6, width = 5, classes = 3 };
enum { pixels = channels * height * width };

static int failures = 0;

static void check(int condition, const char* what) {
  if (condition) return;
  ++failures;
  fprintf(stderr, "%s: %s\n", what, mixfuse_last_error());
}

static DLTensor tensor_of(void* data, DLDataType dtype, int64_t* shape, int32_t ndim) {
  DLTensor tensor;
  memset(&tensor, 0, sizeof tensor);
  tensor.data = data;
  tensor.device.device_type = kDLCPU;
  tensor.ndim = ndim;
  tensor.dtype = dtype;
  tensor.shape = shape;
  return tensor;
}

int main(void) {
  const DLDataType f32 = {kDLFloat, 32, 1}, i64 = {kDLInt, 64, 1};
  const DLDevice cpu = {kDLCPU, 0};
  float in[samples * pixels], out[samples * pixels], rows[samples * classes];
  int64_t ids[samples] = {0, 1, 2, 0};
  int64_t shape[4] = {samples, channels, height, width}, ids_shape[1] = {samples};
  int64_t rows_shape[2] = {samples, classes};
  DLTensor images = tensor_of(in, f32, shape, 4), mixed = tensor_of(out, f32, shape, 4);
  DLTensor labels = tensor_of(ids, i64, ids_shape, 1);
  DLTensor targets = tensor_of(rows, f32, rows_shape, 2);
  mixfuse_policy policies[2];
  mixfuse_spec spec;
  mixfuse_queue queue = mixfuse_cpu_queue(1);
  mixfuse_draw first = {42, 0, 0};
  mixfuse_originals originals = mixfuse_make_originals();
  mixfuse_mixed written = mixfuse_make_mixed();
  mixfuse_mixer* mixer = NULL;
  const mixfuse_plan* plan = NULL;
  mixfuse_row drawn[samples];
  int step, i, k;

  for (i = 0; i < samples * pixels; ++i) in[i] = (float)(i / pixels + 1); /* 1, 2, 3, 4 */
  policies[0] = mixfuse_make_policy(MIXFUSE_POLICY_MIXUP);
  policies[1] = mixfuse_make_policy(MIXFUSE_POLICY_CUTMIX);
  policies[0].probability = policies[1].probability = 0.5f;
  spec = mixfuse_make_spec(policies, 2);
  originals.images = &images;
  originals.labels = &labels;
  written.images = &mixed;
  written.targets = &targets;

  check(mixfuse_mixer_create(&spec, &first, samples, cpu, NULL, 0, &queue, &mixer) == MIXFUSE_OK,
        "create");
  for (step = 0; step < 20; ++step) {
    check(mixfuse_mixer_step(mixer, &written, &originals, &queue) == MIXFUSE_OK, "step");
    check(mixfuse_mixer_plan(mixer, &plan) == MIXFUSE_OK, "plan");
    check(mixfuse_read_rows(plan, drawn, samples, &queue) == MIXFUSE_OK, "rows");
    for (i = 0; i < samples; ++i) {
      /* The label says what the pixels are: their mean is the mean of own and partner by it. */
      const double own = i + 1, partner = drawn[i].partner + 1, label = (double)drawn[i].label;
      double sum = 0, mass = 0;
      for (k = 0; k < pixels; ++k) sum += (double)out[i * pixels + k];
      for (k = 0; k < classes; ++k) mass += (double)rows[i * classes + k];
      sum = sum / pixels - (label * own + (1 - label) * partner);
      check(sum < 1e-5 && sum > -1e-5, "the pixels are not what the label says");
      check(mass > 1 - 2.4e-7 && mass < 1 + 2.4e-7, "a row does not sum to 1");
    }
  }
  spec.pairing = 99;
  check(mixfuse_mixer_create(&spec, &first, samples, cpu, NULL, 0, &queue, &mixer) ==
            MIXFUSE_INVALID_ARGUMENT,
        "a bad pairing was taken");
  check(strncmp(mixfuse_last_error(), "spec.pairing: 99", 16) == 0, "and not named");
  check(mixfuse_mixer_destroy(mixer) == MIXFUSE_OK, "destroy");
  check(mixfuse_stream_version() >= 1, "stream version");
  if (failures == 0) printf("mixfuse %s from C: 20 steps\n", mixfuse_version());
  return failures != 0;
}
