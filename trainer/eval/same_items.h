// Whether two evaluations measured the same items, without which nothing of them can be compared.
#pragma once

#include <filesystem>
#include <vector>

#include "trainer/eval/samples.h"

namespace spt {

// Of two files' samples of a task, each by id. Throws BadInput naming files and lines: another number of items, an id
// that one has alone, another prompt, gold, list of options, group or number of trained tokens.
void check_same_items(const std::filesystem::path& first_file, const std::vector<Sample>& first,
                      const std::filesystem::path& second_file, const std::vector<Sample>& second);

}  // namespace spt
