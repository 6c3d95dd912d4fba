#include "base/sha256.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/temporary_folder.h"

namespace spt {
namespace {

// The examples of FIPS 180-4 (NIST, "Example Algorithms: SHA-256").
TEST(Sha256, DigestsAreThoseOfTheStandard) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, Base64IsTheSameDigest) {  // as `openssl dgst -sha256 -binary | base64` gives it
  EXPECT_EQ(sha256_base64(""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
  EXPECT_EQ(sha256_base64("abc"), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
}

TEST(Sha256, PiecesGiveTheDigestOfTheWhole) {
  Sha256 hash;
  for (const char* piece : {"", "a", "b", "c"}) hash.update(piece);
  EXPECT_EQ(hash.hex(), sha256_hex("abc"));
}

TEST(Sha256, FilesOfAnySizeAreReadWhole) {
  const TemporaryFolder folder;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{1} << 20, (size_t{1} << 20) + 1, size_t{3} << 20}) {
    const std::string bytes(size, 'x');
    EXPECT_EQ(sha256_file(folder.put("f", bytes)), sha256_hex(bytes)) << size;
  }
}

TEST(Sha256, AFileThatCannotBeReadIsNamed) {
  const TemporaryFolder folder;
  for (const std::filesystem::path& path : {folder / "none", folder.path()}) {
    try {
      sha256_file(path);
      FAIL() << path;
    } catch (const BadInput& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(path.string() + ": "));
    }
  }
}

}  // namespace
}  // namespace spt
