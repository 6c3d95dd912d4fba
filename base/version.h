// What was built; the definitions are written by cmake/git_commit.cmake at build time.
#pragma once

namespace spt {

extern const char* const kVersion;
extern const char* const kGitCommit;  // with "-dirty" where the tree differed; "unknown" outside a checkout

}  // namespace spt
