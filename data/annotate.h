// The work of annotating a file of records: which prompts to put, what becomes of the answers, and the output. It knows
// neither endpoints nor models: whatever answers takes prompts by `next` and gives answers to `take` (data/chat.h).
//
// Every answer goes into OUT.jsonl.journal (data/annotation_journal.h) before anything is made of it. The output, and
// the report, appear whole, when all work is done, and then the journal goes. The report has a JSON line for each
// record that was asked again or stayed without a role:
//
//   {"line", "id", "outcome": "asked again" | "no role" | "no answer", "answers": [{"text", "fault"}, …], "failure"}
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/annotated_file.h"
#include "data/annotation_journal.h"
#include "data/annotator.h"
#include "data/chat.h"
#include "data/records.h"
#include "data/unanswered.h"

namespace spt {

struct AnnotateConfig {
  std::filesystem::path input, out, report;  // report: may be empty; out too, where nothing but prompts is wanted
  bool force = false;                        // replace existing files, and a journal of another annotation
  bool replace = false;                      // ask for records that have a role, too
  int64_t limit = 0;  // the input's first records only, in the output too; the journal then stays. 0: all
};

struct AnnotateStatistics {
  int64_t records = 0;
  int64_t kept = 0;          // had a role before
  int64_t neutral = 0;       // got the role written by hand
  int64_t roles = 0;         // got a role from the model
  int64_t asked_again = 0;   // took more than one answer, with or without success
  int64_t no_role = 0;       // no answer passed
  int64_t no_answer = 0;     // none came: asked again by the next call
  int64_t from_journal = 0;  // answers that were there when it began
  TokenUsage usage;          // of all answers, the journal's too
  int64_t done() const { return kept + neutral + roles + no_role + no_answer; }
};

class Annotation {
 public:
  // Reads the whole input; nothing on the disk changes. Throws BadInput: what RecordReader refuses, outputs that are
  // inputs or cannot be written.
  Annotation(AnnotateConfig config, const Annotator& annotator);
  ~Annotation();

  // Opens the journal and takes its answers. Throws BadInput for existing files without `force` (but those that an
  // earlier call made from this very journal), and as AnnotationJournal does.
  void begin(const std::string& model, const std::string& settings);

  // The next prompt to put; nothing when none is left or all others depend on answers that are outstanding.
  std::optional<ChatPrompt> next();
  // Journals, checks, and asks again where the answer does not pass. Throws Failure when ten prompts in a row got no
  // answer: then the endpoint is down, and its journal waits for a better time.
  void take(const ChatAnswer& answer);
  // All answers so far are safe when it returns.
  void sync();
  // Output and report. Throws Failure when not one prompt of this call was answered.
  void finish();

  const AnnotateStatistics& statistics() const { return statistics_; }
  bool is_done() const { return statistics_.done() == statistics_.records; }
  // For what is still to be asked, if every first answer passes.
  TokenUsage estimate() const;
  bool keeps_journal() const { return last_line_ < input_lines_; }

 private:
  struct Entry {
    Record record;
    std::optional<std::string> role;  // the new one
    int64_t answers = 0;
    std::vector<Annotator::Refused> refused;
    std::string failure;
  };
  void read_input();
  void accept(size_t number, const JournalAnswer& answer);
  std::vector<NewRole> new_roles() const;
  std::string report() const;

  AnnotateConfig config_;
  const Annotator& annotator_;
  AnnotationSource source_;
  std::unique_ptr<AnnotationJournal> journal_;
  std::vector<Entry> entries_;  // one a record; those that are asked for stand in to_ask_ once, or are outstanding
  std::deque<size_t> to_ask_;
  AnnotateStatistics statistics_;
  int64_t last_line_ = 0, input_lines_ = 0;  // of the last record within the limit, and of the last at all
  Unanswered unanswered_;
};

}  // namespace spt
