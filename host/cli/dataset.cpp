// SPDX-License-Identifier: Apache-2.0
#include "host/cli/dataset.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <utility>

#include "host/cli/fault.hpp"
#include "host/cli/images.hpp"
#include "host/cli/progress.hpp"

namespace mixfuse::cli {
namespace {

std::string shape_text(std::vector<std::int64_t> const& shape) {
  std::string list;
  for (std::int64_t axis : shape) list += text(list.empty() ? "" : ", ", axis);
  return text("(", list, ")");
}

bool is_csv(std::string const& path) { return path.ends_with(".csv"); }

/// Ids of any integer type as int64, so that there is one kind of them.
template <class Id>
Array widened(Array const& ids) {
  Array wide{DType::i64, ids.shape, Bytes(static_cast<std::size_t>(ids.rows()) * 8)};
  for (std::size_t i = 0; i < static_cast<std::size_t>(ids.rows()); ++i) {
    Id id;
    std::memcpy(&id, ids.bytes.data.get() + i * sizeof id, sizeof id);
    std::int64_t const value = id;
    std::memcpy(wide.bytes.data.get() + i * 8, &value, 8);
  }
  return wide;
}

Labels checked(std::string const& flag, Labels labels, std::int64_t samples, Limits const& limits) {
  Array& values = labels.values;
  std::size_t const rank = values.shape.size();
  if (rank < 1 || rank > 2) {
    throw failed_run(text(labels.file, ": shape ", shape_text(values.shape),
                          ", labels are ids (B,) or rows (B, K)"));
  }
  if (values.rows() > limits.rows) {
    throw failed_run(text(labels.file, ": ", values.rows(), " rows are more than ", limits.rows,
                          " (--max-rows)"));
  }
  if (values.rows() != samples) {
    throw failed_run(
        text(labels.file, ": has ", values.rows(), " labels for ", samples, " samples"));
  }
  bool const integer =
      values.dtype == DType::u8 || values.dtype == DType::i32 || values.dtype == DType::i64;
  if (integer != (rank == 1)) {
    throw bad_call(text(flag, ": ", labels.file, ": ", rank == 1 ? "ids" : "rows", " of ",
                        name_of(values.dtype),
                        " are not supported; ids are int32, int64 or uint8, "
                        "rows are floats or bool"));
  }
  if (values.dtype == DType::u8) values = widened<std::uint8_t>(values);
  if (values.dtype == DType::i32) values = widened<std::int32_t>(values);
  return labels;
}

Labels labels_of(std::vector<std::int64_t> const& ids, std::string file) {
  Labels labels{{DType::i64, {static_cast<std::int64_t>(ids.size())}, Bytes(ids.size() * 8)},
                std::move(file)};
  std::memcpy(labels.values.bytes.data.get(), ids.data(), ids.size() * 8);
  return labels;
}

void read_images_of_folder(Options const& options, Budget& budget, Dataset& data) {
  if (options.layout && options.layout != Layout::nhwc) {
    throw bad_call("--layout: a folder of images is nhwc");
  }
  data.layout = Layout::nhwc;
  bool const by_folder = options.labels.empty();
  Progress progress("reading images");
  Folder folder =
      read_folder(options.images, by_folder ? Labelling::by_folder : Labelling::elsewhere, budget,
                  [&](std::size_t done, std::size_t of) { progress.show(done, of); });
  if (by_folder && !folder.classes.empty()) {
    data.labels = labels_of(folder.labels, options.images);
    data.class_names = folder.classes;
  } else if (is_csv(options.labels)) {
    auto const limit = budget.limits().file;
    data.labels = labels_of(
        parse_csv(read_text(options.labels, limit), options.labels, folder.files), options.labels);
  }
  data.images = std::move(folder.images);
  data.sample_names = std::move(folder.files);
}

Layout layout_of(Options const& options, Array const& images) {
  std::size_t const rank = images.shape.size();
  constexpr Layout by_rank[] = {Layout::nf, Layout::nct, Layout::nchw, Layout::ncdhw};
  if (rank < 2 || rank > 5) {
    throw failed_run(text(options.images, ": shape ", shape_text(images.shape),
                          ", 2 to 5 axes expected, samples first"));
  }
  Layout const layout = options.layout.value_or(by_rank[rank - 2]);
  if (std::strlen(name_of(layout)) != rank) {
    throw failed_run(text(options.images, ": shape ", shape_text(images.shape), " is not --layout ",
                          name_of(layout)));
  }
  return layout;
}

/// K, from the labels and the flag, which must agree.
std::int64_t classes_of(Options const& options, Dataset const& data) {
  if (!data.labels) return options.classes.value_or(0);
  if (!data.labels->ids()) {
    std::int64_t const columns = data.labels->values.shape[1];
    if (options.classes && options.classes != columns) {
      throw failed_run(text(data.labels->file, ": rows of ", columns, " classes, --num-classes is ",
                            *options.classes));
    }
    if (options.target == TargetKind::sparse) {
      throw failed_run(text(data.labels->file, ": --target sparse is made of ids, not of rows"));
    }
    if (options.smoothing.value_or(0.0f) > 0.0f) {
      throw failed_run(text(data.labels->file, ": --smoothing is for ids, not for rows"));
    }
    if (options.ignored) {
      throw failed_run(text(data.labels->file, ": --ignore-index is for ids, not for rows"));
    }
    return columns;
  }
  auto const folders = static_cast<std::int64_t>(data.class_names.size());
  if (options.classes && *options.classes < folders) {
    throw failed_run(text(options.images, ": has ", folders, " class folders, --num-classes is ",
                          *options.classes));
  }
  if (!options.classes && folders == 0 && !options.targets.empty()) {
    throw bad_call("--num-classes: is needed for class ids");
  }
  return options.classes.value_or(folders);
}

}  // namespace

Dataset read_dataset(Options const& options) {
  Budget budget{options.limits};
  Dataset data;
  bool const is_folder = std::filesystem::is_directory(options.images);
  if (!is_folder && options.labels.empty() && !options.targets.empty()) {
    throw bad_call("--targets: needs --labels");
  }
  if (!is_folder && is_csv(options.labels)) {
    throw bad_call("--labels: a CSV names the files of a folder, --images is none");
  }
  if (is_folder) {
    read_images_of_folder(options, budget, data);
  } else {
    data.images = read_npy(options.images, budget);
    data.layout = layout_of(options, data.images);
  }
  std::int64_t const samples = data.images.rows();
  if (samples > std::numeric_limits<std::int32_t>::max()) {
    throw failed_run(text(options.images, ": ", samples, " samples are more than 2^31 - 1"));
  }
  ConstTensorView const view{nullptr,
                             data.images.dtype,
                             data.images.shape.data(),
                             static_cast<int>(data.images.shape.size()),
                             Device::cpu(),
                             data.layout};
  data.extents = extents_of(view);

  auto const read_labels = [&](std::string const& flag, std::string const& path) {
    return checked(flag, {read_npy(path, budget), path}, samples, budget.limits());
  };
  if (data.labels) {
    data.labels = checked("--labels", *std::move(data.labels), samples, budget.limits());
  } else if (!options.labels.empty()) {
    data.labels = read_labels("--labels", options.labels);
  } else if (!options.targets.empty()) {
    throw bad_call("--targets: needs --labels or class folders");
  }
  data.classes = classes_of(options, data);

  if (!options.partners.empty()) {
    data.partners = read_npy(options.partners, budget);
    if (data.partners->shape != data.images.shape || data.partners->dtype != data.images.dtype) {
      throw failed_run(text(options.partners, ": ", name_of(data.partners->dtype), " ",
                            shape_text(data.partners->shape), ", the images are ",
                            name_of(data.images.dtype), " ", shape_text(data.images.shape)));
    }
  }
  if (!options.partner_labels.empty()) {
    data.partner_labels = read_labels("--partner-labels", options.partner_labels);
    Array const& theirs = data.partner_labels->values;
    if (!data.labels || theirs.dtype != data.labels->values.dtype ||
        theirs.shape != data.labels->values.shape) {
      throw failed_run(text(options.partner_labels, ": ", name_of(theirs.dtype), " ",
                            shape_text(theirs.shape), " differ from the labels"));
    }
  }
  if (options.flip.value_or(0.0f) > 0.0f && !data.extents.width) {
    throw failed_run(text("--hflip: layout ", name_of(data.layout), " has no width to mirror"));
  }
  if (options.first.value_or(0) > (std::uint64_t{1} << 48) - static_cast<std::uint64_t>(samples)) {
    throw bad_call(text("--first: ", *options.first, " and ", samples, " samples end beyond 2^48"));
  }
  return data;
}

}  // namespace mixfuse::cli
