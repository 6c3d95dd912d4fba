// What run.reproducible needs besides exact sums: the same instructions on every rank, before and after a resume.
#pragma once

#include <filesystem>

#include "dist/runtime.h"

namespace spt {

// Before the first matrix product: MKL chooses the same code whatever the data's alignment.
void make_products_reproducible();

// Collective. Throws BadInput where ranks differ in CPU type or number of threads, or where `run` was trained so far
// with others (its manifest.json says), or on a GPU, where nobody has looked yet whether bits repeat.
void require_one_kind_of_machine(Runtime& runtime, const std::filesystem::path& run);

}  // namespace spt
