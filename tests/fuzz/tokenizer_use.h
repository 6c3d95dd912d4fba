// What is done with a tokenizer that was accepted: texts there and back.
#pragma once

#include "data/tokenizer.h"
#include "tests/fuzz/fuzz.h"

namespace spt {

inline void use_tokenizer(const Tokenizer& tokenizer) {
  for (const char* text :
       {"", "Hello, world 123!", "  two spaces\n\nnaïve 日本 \xF0\x9F\x99\x82", "<s></s> <|im_end|>"})
    may_refuse([&] {
      for (const bool at_start : {true, false}) tokenizer.decode(tokenizer.encode(text, at_start), at_start);
      for (const int32_t id : tokenizer.encode_with_special(text)) tokenizer.piece(id);
    });
  may_refuse([&] { tokenizer.decode({-1, 0, 1, 2, static_cast<int32_t>(tokenizer.size())}, true); });
}

}  // namespace spt
