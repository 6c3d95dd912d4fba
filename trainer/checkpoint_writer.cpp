#include "trainer/checkpoint_writer.h"

#include <atomic>
#include <utility>

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include "base/durable.h"
#include "base/error.h"
#include "base/sha256.h"
#include "trainer/checkpoint_files.h"

namespace spt {

namespace fs = std::filesystem;

struct CheckpointWriter::Files {
  fs::path folder;
  WrittenFiles written;
  std::atomic<bool> finished = false;
  // The safetensors file that is open.
  std::unique_ptr<SafetensorsWriter> file;
  std::string name;
  size_t tensors_left = 0;

  void attempt(const std::function<void(Files&)>& operation) {
    if (!written.failure.empty()) return;
    try {
      operation(*this);
    } catch (const std::exception& error) {
      written.failure = error.what();
      file.reset();  // removes what there is of it
    }
  }
  void write(const std::string& whole, const std::string& bytes) {
    DurableFile out(folder / whole);
    out.write(bytes);
    out.commit();
    written.facts[whole] = file_facts(bytes.size(), sha256_hex(bytes));
  }
  void begin(const std::string& next, const std::vector<SafetensorsEntry>& entries,
             const std::map<std::string, std::string>& metadata) {
    file = std::make_unique<SafetensorsWriter>(folder / next, entries, metadata);
    name = next;
    tensors_left = entries.size();
    end_if_whole();
  }
  void write(const at::Tensor& tensor) {
    file->write(tensor);
    --tensors_left;
    end_if_whole();
  }
  void end_if_whole() {
    if (tensors_left > 0) return;
    const std::string sha256 = file->commit();
    file.reset();
    std::error_code error;
    const uintmax_t size = fs::file_size(folder / name, error);
    if (error) throw Failure(fmt::format("{}: written, and gone: {}", (folder / name).string(), error.message()));
    written.facts[name] = file_facts(size, sha256);
  }
};

CheckpointWriter::CheckpointWriter(fs::path folder, bool in_background)
    : in_background_(in_background), files_(std::make_shared<Files>()) {
  files_->folder = std::move(folder);
}

CheckpointWriter::~CheckpointWriter() {
  if (thread_.joinable()) thread_.detach();
}

void CheckpointWriter::perform(std::function<void(Files&)> operation) {
  if (in_background_)
    operations_.push_back(std::move(operation));
  else
    files_->attempt(operation);
}

void CheckpointWriter::write(const std::string& name, const std::string& bytes) {
  perform([=](Files& files) { files.write(name, bytes); });
}

void CheckpointWriter::begin(const std::string& name, const std::vector<SafetensorsEntry>& entries,
                             const std::map<std::string, std::string>& metadata) {
  perform([=](Files& files) { files.begin(name, entries, metadata); });
}

void CheckpointWriter::write(at::Tensor next) {
  const bool is_alone = next.use_count() == 1 && next.storage().use_count() == 1;
  try {
    if (!next.is_cpu())
      next = next.cpu();
    else if (in_background_ && !is_alone)
      next = next.clone();
  } catch (const c10::Error&) {
    if (!in_background_) throw;
    throw Failure(
        fmt::format("no memory for a copy of the checkpoint ({} bytes more); checkpoint.background=false needs none",
                    next.nbytes()));
  }
  perform([tensor = std::move(next)](Files& files) { files.write(tensor); });
}

void CheckpointWriter::start() {
  if (!in_background_) {
    files_->finished = true;
    return;
  }
  thread_ = std::thread([files = files_, operations = std::move(operations_)]() mutable {
    for (auto& operation : operations) {
      files->attempt(operation);
      operation = nullptr;  // its copy is not needed any more
    }
    files->finished = true;
  });
}

bool CheckpointWriter::is_finished() const {
  return files_->finished;
}

const WrittenFiles& CheckpointWriter::written() {
  if (thread_.joinable()) thread_.join();
  return files_->written;
}

}  // namespace spt
