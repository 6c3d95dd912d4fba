#include "trainer/metrics.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "base/durable.h"
#include "base/error.h"
#include "base/read_file.h"
#include "data/json_text.h"

namespace spt {
namespace {

// Lists the fields of a row once, for reading and for writing.
template <class Row, class F>
void visit(Row& row, F&& field) {
  field("step", row.step);
  field("epoch", row.epoch);
  field("loss", row.loss);
  field("valid_loss", row.valid_loss);
  field("grad_norm", row.grad_norm);
  field("lr", row.lr);
  field("trained_tokens", row.trained_tokens);
  field("tokens", row.tokens);
  field("seconds", row.seconds);
  field("data_seconds", row.data_seconds);
  field("tokens_per_second", row.tokens_per_second);
  field("comm_exposed_seconds", row.comm_exposed_seconds);
  field("mfu", row.mfu);
  field("memory_bytes", row.memory_bytes);
  field("device_allocations", row.device_allocations);
}

struct RowToJson {
  nlohmann::ordered_json& object;
  void operator()(const char* name, int64_t value) { object[name] = value; }
  // The library writes null for a number that is not finite.
  void operator()(const char* name, double value) { object[name] = value; }
  template <class T>
  void operator()(const char* name, const std::optional<T>& value) {
    if (value) operator()(name, *value);
  }
};

// Throws nlohmann::json::exception for a field that is missing or of another type.
struct RowFromJson {
  const nlohmann::json& object;
  void operator()(const char* name, int64_t& value) const {
    const nlohmann::json& written = object.at(name);
    if (!written.is_number_integer()) throw nlohmann::json::type_error::create(302, name, &written);
    value = written.get<int64_t>();
  }
  void operator()(const char* name, double& value) const {
    const nlohmann::json& written = object.at(name);
    value = written.is_null() ? std::numeric_limits<double>::quiet_NaN() : written.get<double>();
  }
  template <class T>
  void operator()(const char* name, std::optional<T>& value) const {
    if (object.contains(name)) operator()(name, value.emplace());
  }
};

// Calls `use(row, end of its line)` for each whole line, until it returns false.
template <class F>
void for_each_row(const std::filesystem::path& path, std::string_view text, F&& use) {
  int64_t number = 1;
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string_view::npos; begin = end + 1, ++number) {
    MetricsRow row;
    try {
      const nlohmann::json object = nlohmann::json::parse(text.substr(begin, end - begin));
      visit(row, RowFromJson{object});
    } catch (const nlohmann::json::exception& error) {
      throw BadInput(fmt::format("{}:{}: is no row of metrics ({}); mend or remove the line", path.string(), number,
                                 json_reason(error)));
    }
    if (!use(row, end + 1)) return;
  }
}

}  // namespace

std::vector<MetricsRow> read_metrics(const std::filesystem::path& path) {
  std::vector<MetricsRow> rows;
  for_each_row(path, read_file(path), [&](const MetricsRow& row, size_t) {
    rows.push_back(row);
    return true;
  });
  return rows;
}

std::string first_difference(const std::vector<MetricsRow>& there, const std::vector<MetricsRow>& here) {
  for (size_t i = 0; i < there.size(); ++i) {
    if (i == here.size()) return fmt::format("step {}: is missing here", there[i].step);
    nlohmann::ordered_json before, now;
    visit(there[i], RowToJson{before});
    visit(here[i], RowToJson{now});
    // As texts, which give the same bits again: NaN is equal to itself there.
    const auto text = [](const nlohmann::ordered_json& row, const char* key) {
      return row.contains(key) ? row[key].dump() : "none";
    };
    for (const char* key : {"step", "loss", "valid_loss", "grad_norm", "lr", "trained_tokens"})
      if (text(before, key) != text(now, key))
        return fmt::format("step {}: {} is {} there, {} here", there[i].step, key, text(before, key), text(now, key));
  }
  return "";
}

std::vector<MetricsRow> thinned(const std::vector<MetricsRow>& rows, size_t most) {
  if (rows.size() <= most) return rows;
  const size_t stretch = (3 * rows.size() + most - 1) / most;
  std::vector<MetricsRow> kept;
  for (size_t begin = 0; begin < rows.size(); begin += stretch) {
    const size_t end = std::min(begin + stretch, rows.size());
    const auto peak = [&](double MetricsRow::*field) {
      const auto less = [&](const MetricsRow& x, const MetricsRow& y) {
        return std::isfinite(x.*field) && (!std::isfinite(y.*field) || x.*field < y.*field);
      };
      return std::max_element(&rows[begin], &rows[begin] + (end - begin), less);
    };
    const MetricsRow *loss = peak(&MetricsRow::loss), *norm = peak(&MetricsRow::grad_norm);
    for (size_t i = begin; i < end; ++i)
      if (i == begin || &rows[i] == loss || &rows[i] == norm || rows[i].valid_loss || i + 1 == rows.size())
        kept.push_back(rows[i]);
  }
  return kept;
}

MetricsWriter::MetricsWriter(const std::filesystem::path& path, int64_t resume_after_step) : path_(path) {
  std::string text;
  size_t kept = 0;
  if (std::filesystem::exists(path)) {
    text = read_file(path);
    int64_t last_step = 0;
    if (resume_after_step > 0)
      for_each_row(path, text, [&](const MetricsRow& row, size_t end) {
        if (row.step > resume_after_step) return false;
        kept = end;
        last_step = row.step;
        return true;
      });
    if (last_step < resume_after_step)
      spdlog::warn("{} ends at step {}, training goes on after step {}: the rows between are lost", path.string(),
                   last_step, resume_after_step);
  }
  if (kept < text.size()) write_durable(path, std::string_view(text).substr(0, kept));
  stream_.open(path, std::ios::binary | std::ios::app);
  if (!stream_) throw Failure(fmt::format("{}: cannot be written: {}", path.string(), std::strerror(errno)));
}

void MetricsWriter::append(const MetricsRow& row) {
  nlohmann::ordered_json object;
  visit(row, RowToJson{object});
  stream_ << object.dump() + '\n' << std::flush;
  if (!stream_) throw Failure(fmt::format("{}: writing failed: {}", path_.string(), std::strerror(errno)));
}

}  // namespace spt
