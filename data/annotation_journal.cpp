#include "data/annotation_journal.h"

namespace spt {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const JournalKind& kind() {
  static const JournalKind kKind{"spt-annotation-journal", "spt annotate", "annotation",
                                 "choose another --out to keep them, or --force to begin anew"};
  return kKind;
}

json source_json(const AnnotationSource& source) {
  return {{"input_sha256", source.input_sha256},
          {"annotator_sha256", source.annotator_sha256},
          {"model", source.model},
          {"settings", source.settings}};
}

JournalAnswer answer_of(const json& line) {
  JournalAnswer answer;
  answer.line = line.at("line");
  answer.id = line.at("id");
  answer.attempt = line.at("attempt");
  answer.text = line.at("text");
  if (!line.at("fault").is_null()) answer.fault = line.at("fault").get<std::string>();
  answer.usage = {line.at("prompt_tokens"), line.at("completion_tokens")};
  return answer;
}

}  // namespace

AnnotationJournal::AnnotationJournal(const fs::path& path, const AnnotationSource& source, bool replace)
    : journal_(path, kind(), source_json(source), json::object(), replace) {
  for (const JournalLine& line : journal_.found()) {
    try {
      found_.push_back(answer_of(line.value));
    } catch (const json::exception& error) {
      refuse_journal_line(path, kind(), line.number, error.what());
    }
  }
}

void AnnotationJournal::append(const JournalAnswer& answer) {
  journal_.append({{"line", answer.line},
                   {"id", answer.id},
                   {"attempt", answer.attempt},
                   {"text", answer.text},
                   {"fault", answer.fault ? json(*answer.fault) : json()},
                   {"prompt_tokens", answer.usage.prompt},
                   {"completion_tokens", answer.usage.completion}});
}

}  // namespace spt
