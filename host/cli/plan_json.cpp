// SPDX-License-Identifier: Apache-2.0
#include "host/cli/plan_json.hpp"

#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "host/cli/fault.hpp"
#include "host/cli/file.hpp"

namespace mixfuse::cli {
namespace {

using nlohmann::json;

constexpr int format_version = 1;
constexpr int depth_limit = 16;

/// 9 digits bring every float back, also through a reader that goes by way of double. The point
/// keeps the sign of -0, which an integer would lose.
std::string digits(float value) {
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.9g", static_cast<double>(value));
  std::string number = buffer.data();
  if (number.find_first_of(".e") == std::string::npos) number += ".0";
  return number;
}

/// One object of a plan file, for errors that name it.
struct Reader {
  json const& object;
  std::string where;

  [[noreturn]] void fail(char const* key, std::string const& why) const {
    throw failed_run(text(where, key, ": ", why));
  }
  [[nodiscard]] json const& at(char const* key) const {
    auto const found = object.find(key);
    if (found == object.end()) fail(key, "is missing");
    return *found;
  }
  [[nodiscard]] std::int64_t integer(json const& value, char const* key, std::int64_t lo,
                                     std::int64_t hi) const {
    // An unsigned value above 2^63 would wrap in get<int64>.
    bool const fits = value.is_number_integer() &&
                      (!value.is_number_unsigned() || value.get<std::uint64_t>() <= INT64_MAX);
    std::int64_t const number = fits ? value.get<std::int64_t>() : -1;
    if (!fits || number < lo || number > hi) {
      fail(key, text("an integer from ", lo, " to ", hi, " expected"));
    }
    return number;
  }
  [[nodiscard]] std::uint64_t optional_word(char const* key, std::uint64_t hi) const {
    auto const found = object.find(key);
    if (found == object.end()) return 0;
    if (!found->is_number_unsigned() || found->get<std::uint64_t>() > hi) {
      fail(key, text("an integer from 0 to ", hi, " expected"));
    }
    return found->get<std::uint64_t>();
  }
  [[nodiscard]] float share(char const* key) const {
    json const& value = at(key);
    double const number = value.is_number() ? value.get<double>() : -1.0;
    if (!(number >= 0.0 && number <= 1.0)) fail(key, "a number from 0 to 1 expected");
    return static_cast<float>(number);
  }
};

Row row_of(json const& object, std::string const& where, Extents const& batch) {
  Reader const reader{object, where};
  Row row;
  row.partner = static_cast<std::int32_t>(
      reader.integer(reader.at("partner"), "partner", 0, batch.samples - 1));
  row.outside = reader.share("outside");
  row.inside = reader.share("inside");
  row.label = reader.share("label");
  if (auto const flip = object.find("flip"); flip != object.end()) {
    if (!flip->is_boolean()) reader.fail("flip", "true or false expected");
    if (flip->get<bool>() && !batch.width) reader.fail("flip", "the data has no width to mirror");
    row.flip = flip->get<bool>() ? 1 : 0;
  }
  json const& box = reader.at("box");
  if (!box.is_array() || box.size() != static_cast<std::size_t>(batch.axes)) {
    reader.fail("box", text("[lo, hi] on ", batch.axes, " axes expected"));
  }
  for (int axis = 0; axis < batch.axes; ++axis) {
    json const& side = box[static_cast<std::size_t>(axis)];
    if (!side.is_array() || side.size() != 2) reader.fail("box", "[lo, hi] on each axis expected");
    auto const lo = reader.integer(side[0], "box", 0, batch.spatial[axis]);
    auto const hi = reader.integer(side[1], "box", lo, batch.spatial[axis]);
    row.box.lo[axis] = static_cast<std::int32_t>(lo);
    row.box.hi[axis] = static_cast<std::int32_t>(hi);
  }
  return row;
}

void require_version(json const& value, std::string const& name) {
  if (value != format_version) {
    throw failed_run(text(name, ": version: ", format_version, " expected"));
  }
}

void require_batch(Reader const& reader, Extents const& batch) {
  if (reader.at("batch") != batch.samples) {
    reader.fail("batch", text("the data has ", batch.samples, " samples"));
  }
  json lengths = json::array();
  for (int axis = 0; axis < batch.axes; ++axis) lengths.push_back(batch.spatial[axis]);
  if (reader.at("spatial") != lengths) {
    reader.fail("spatial", text("the data has ", lengths.dump()));
  }
}

}  // namespace

std::string plan_text(StoredPlan const& plan, Extents const& batch) {
  std::string out =
      text("{\"version\": ", format_version, ", \"stream_version\": ", plan.stream_version,
           ", \"seed\": ", plan.draw.seed, ", \"step\": ", plan.draw.step,
           ", \"first\": ", plan.draw.first, ", \"batch\": ", batch.samples, ", \"spatial\": [");
  for (int axis = 0; axis < batch.axes; ++axis) {
    out += text(axis ? ", " : "", batch.spatial[axis]);
  }
  out += "], \"rows\": [";
  for (std::size_t i = 0; i < plan.rows.size(); ++i) {
    Row const& row = plan.rows[i];
    out += text(i ? ",\n" : "\n", " {\"partner\": ", row.partner,
                ", \"outside\": ", digits(row.outside), ", \"inside\": ", digits(row.inside),
                ", \"label\": ", digits(row.label), ", \"flip\": ", row.flip ? "true" : "false",
                ", \"box\": [");
    for (int axis = 0; axis < batch.axes; ++axis) {
      out += text(axis ? ", [" : "[", row.box.lo[axis], ", ", row.box.hi[axis], "]");
    }
    out += "]}";
  }
  return out + "\n]}\n";
}

StoredPlan parse_plan(std::istream& input, std::string const& name, Extents const& batch) {
  StoredPlan plan;
  std::string top_key, row_key;
  auto const row_name = [&] { return text(name, ": rows[", plan.rows.size(), "]"); };

  // Rows are taken over and dropped while the file is read, so that a large one needs little more
  // memory than its rows.
  auto const take = [&](int depth, json::parse_event_t event, json& value) {
    using Event = json::parse_event_t;
    if (depth > depth_limit) throw failed_run(text(name, ": is nested too deep"));
    if (event == Event::key) {
      std::string const& key = value.get_ref<std::string const&>();
      if (depth == 1) top_key = key;
      if (depth == 3) row_key = key;
    }
    if (depth == 1 && event == Event::value && top_key == "version") require_version(value, name);
    bool const ends =
        event == Event::value || event == Event::object_end || event == Event::array_end;
    if (depth != 2 || !ends || top_key != "rows") return true;
    if (!value.is_object()) throw failed_run(text(row_name(), ": an object expected"));
    if (plan.rows.size() == static_cast<std::size_t>(batch.samples)) {
      throw failed_run(text(name, ": rows: more than the data's ", batch.samples, " samples"));
    }
    plan.rows.push_back(row_of(value, text(row_name(), "."), batch));
    row_key.clear();
    return false;
  };

  json top;
  try {
    top = json::parse(input, take);
  } catch (json::parse_error const& error) {
    std::string const where = top_key != "rows" ? top_key
                              : row_key.empty() ? text("rows[", plan.rows.size(), "]")
                                                : text("rows[", plan.rows.size(), "].", row_key);
    throw failed_run(
        text(name, ": ", where, where.empty() ? "" : ": ", "is not JSON at byte ", error.byte));
  } catch (json::exception const&) {  // a number beyond double
    throw failed_run(text(name, ": ", top_key, ": a number is out of range"));
  }
  if (!top.is_object()) throw failed_run(text(name, ": an object expected"));
  Reader const reader{top, text(name, ": ")};
  require_version(reader.at("version"), name);
  require_batch(reader, batch);
  if (!reader.at("rows").is_array()) reader.fail("rows", "an array expected");
  if (plan.rows.size() != static_cast<std::size_t>(batch.samples)) {
    reader.fail("rows",
                text(plan.rows.size(), " of them, the data has ", batch.samples, " samples"));
  }
  plan.stream_version =
      static_cast<int>(reader.optional_word("stream_version", std::numeric_limits<int>::max()));
  plan.draw.seed = reader.optional_word("seed", std::numeric_limits<std::uint64_t>::max());
  plan.draw.step = reader.optional_word("step", (std::uint64_t{1} << 48) - 1);
  plan.draw.first = reader.optional_word(
      "first", (std::uint64_t{1} << 48) - static_cast<std::uint64_t>(batch.samples));
  return plan;
}

StoredPlan read_plan(std::string const& path, Extents const& batch) {
  constexpr std::int64_t spare = 65536, per_row = 1024;
  if (InputFile{path}.size() > static_cast<std::uint64_t>(spare + batch.samples * per_row)) {
    throw failed_run(text(path, ": is too long for a plan of ", batch.samples, " samples"));
  }
  std::ifstream input{path, std::ios::binary};
  return parse_plan(input, path, batch);
}

}  // namespace mixfuse::cli
