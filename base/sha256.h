// SHA-256 (FIPS 180-4) by OpenSSL.
#pragma once

#include <cstddef>
#include <filesystem>
#include <stop_token>
#include <string>
#include <string_view>

namespace spt {

// Feed bytes, then ask for the digest once.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(const void* bytes, size_t size);
  void update(std::string_view text) { update(text.data(), text.size()); }
  // Each ends the computation.
  std::string hex();     // 64 lower-case digits
  std::string base64();  // 44 characters

 private:
  std::string digest();  // 32 bytes
  void* context_;
};

std::string sha256_hex(std::string_view bytes);
std::string sha256_base64(std::string_view bytes);
// Throws BadInput when the file cannot be read. Where `stop` is requested meanwhile it returns soon, with no hash of
// it.
std::string sha256_file(const std::filesystem::path& path, const std::stop_token& stop = {});

}  // namespace spt
