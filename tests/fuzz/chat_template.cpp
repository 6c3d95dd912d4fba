// A chat template: parsed, then used on a conversation, as a prompt and as Jinja.
#include "data/chat_template.h"

#include "tests/data/fake_tokenizer.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace spt;
  const FakeTokenizer tokenizer;
  may_refuse([&] {
    const ChatTemplate chat_template = ChatTemplate::parse(std::string(as_text(data, size)), "x.yaml");
    Record record;
    record.turns = {"What?", "That.", "And {user}?", "This."};
    record.role = "You are a cook.";
    for (const Arm arm : {Arm::kRole, Arm::kPlain})
      may_refuse([&] {
        const EncodedExample example = chat_template.encode(record, arm, tokenizer);
        if (example.ids.size() != example.trained.size()) std::abort();
        chat_template.split(example.ids, tokenizer);
      });
    may_refuse([&] { chat_template.encode_prompt({"What?"}, std::nullopt, tokenizer); });
    may_refuse([&] { chat_template.jinja(tokenizer); });
  });
  return 0;
}
