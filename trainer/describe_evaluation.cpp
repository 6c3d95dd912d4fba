#include <algorithm>
#include <fstream>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/read_file.h"
#include "trainer/describe.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

int64_t count_lines(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::count(std::istreambuf_iterator<char>(file), {}, '\n');
}

}  // namespace

ordered_json describe_evaluation(const fs::path& folder) {
  const fs::path path = folder / "results.json";
  const ordered_json results = ordered_json::parse(read_file(path), nullptr, false);
  if (!results.is_object() || !results.contains("tasks") || !results["tasks"].is_object())
    throw BadInput(fmt::format("{}: is not what spt eval writes: a JSON object with \"tasks\"", path.string()));
  ordered_json out = {{"path", folder.string()}, {"kind", "evaluation"}};
  for (const auto& [key, value] : results.items())
    if (key != "tasks") out[key] = value;
  out["tasks"] = results["tasks"];
  std::vector<fs::path> samples;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder / "samples", none)) samples.push_back(entry.path());
  std::sort(samples.begin(), samples.end());
  out["samples"] = ordered_json::array();
  for (const fs::path& sample : samples)
    out["samples"].push_back({{"file", sample.lexically_relative(folder).string()}, {"answers", count_lines(sample)}});
  return out;
}

}  // namespace spt
