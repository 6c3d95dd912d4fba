// Config structs list their fields once:
//
//   struct AdamWConfig {
//     double lr = 1e-5;
//     template <class F> void fields(F& f) { f("lr", lr, "peak learning rate"); }
//     void validate(std::vector<std::string>& errors) const;   // optional: limits, one field against another
//   };
//
// A message of `validate` begins with the field's name ("lr is -1, must be above 0"); `read_fields` puts file:line and
// the section before it. Every struct's `validate` is called, nested ones too, once all values have been read.
//
// and three visitors read that list: `read_fields` (from a file and overrides), `dump_fields` (the resolved YAML) and
// `list_fields` (for --help). A field is a scalar, an enum with `enum_names`, a vector of scalars, an optional scalar,
// another struct with fields or `Named` (below). An enum's names are found by argument-dependent lookup:
//
//   inline std::vector<std::pair<std::string, Backend>> enum_names(Backend) { return {{"auto", Backend::kAuto}, …}; }
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"

namespace spt {

// One value as written by the user: `items` holds its text (one item unless `is_list`), `where` says file:line or
// "command line", `place` counts the values of a file from 0, then those of the command line. A null has no items.
struct ConfigValue {
  std::vector<std::string> items;
  bool is_list = false;
  std::string where;
  size_t place = 0;
};

// Dotted key → value, e.g. "optimizer.lr" → 1e-5.
using ConfigValues = std::map<std::string, ConfigValue>;

// A section whose names are the user's, in their order. T is ConfigValue, kept as it was written, whose name is the
// whole rest of the key ("optimizer.lr"); or a struct with fields, or a Named, whose name has no dot.
template <class T>
using Named = std::vector<std::pair<std::string, T>>;

// Each returns an empty string, or what was expected ("a whole number"). Text must be consumed whole.
std::string parse_scalar(const std::string& text, bool& out);
std::string parse_scalar(const std::string& text, int64_t& out);
std::string parse_scalar(const std::string& text, uint64_t& out);
std::string parse_scalar(const std::string& text, int& out);
std::string parse_scalar(const std::string& text, double& out);
std::string parse_scalar(const std::string& text, std::string& out);
std::string parse_scalar(const std::string& text, std::filesystem::path& out);

std::string format_scalar(bool value);
std::string format_scalar(int64_t value);
std::string format_scalar(uint64_t value);
std::string format_scalar(int value);
std::string format_scalar(double value);              // shortest text that reads back to the same bits
std::string format_scalar(const std::string& value);  // quoted as YAML needs it
std::string format_scalar(const std::filesystem::path& value);
// As an override takes it ("[0.9, 0.95]", "null"), quoted only where a plain text would be read as something else.
std::string format_value(const ConfigValue& value);

// What a number counts, which the end of its name says: "s" for collective_timeout_s, "tokens" for max_tokens. Empty
// where it says nothing.
std::string unit_of(const std::string& key);

// The known dotted key nearest to `key` by the edit distance of its last name (the section may be wrong too), or empty
// when none is near.
std::string nearest_key(const std::string& key, const std::vector<std::string>& known);

namespace fields_detail {

struct AnyVisitor {
  template <class T>
  void operator()(const char*, T&, const char*) {}
};
template <class T>
concept HasFields = requires(T t, AnyVisitor f) {
  t.fields(f);
};
template <class T>
concept HasValidate = requires(const T t, std::vector<std::string> e) {
  t.validate(e);
};

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsNamed : std::false_type {};
template <class T>
struct IsNamed<Named<T>> : std::true_type {};

template <class T>
std::string parse_any(const std::string& text, T& out) {
  if constexpr (std::is_enum_v<T>) {
    std::string names;
    for (const auto& [name, value] : enum_names(T{})) {
      if (name == text) {
        out = value;
        return "";
      }
      names += (names.empty() ? "" : ", ") + name;
    }
    return "one of " + names;
  } else {
    return parse_scalar(text, out);
  }
}

template <class T>
std::string format_any(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    for (const auto& [name, candidate] : enum_names(T{}))
      if (candidate == value) return name;
    throw Failure("an enum value without a name");
  } else {
    return format_scalar(value);
  }
}

// As docs/configuration.md names it.
template <class T>
std::string type_name(const T& value) {
  if constexpr (IsOptional<T>::value) {
    return type_name(typename T::value_type{}) + ", or null";
  } else if constexpr (IsVector<T>::value) {
    return "[" + type_name(typename T::value_type{}) + ", …]";
  } else if constexpr (std::is_enum_v<T>) {
    std::string names;
    for (const auto& [name, each] : enum_names(value)) names += (names.empty() ? "" : " · ") + name;
    return names;
  } else if constexpr (std::is_same_v<T, bool>) {
    return "true · false";
  } else if constexpr (std::is_integral_v<T>) {
    return "whole number";
  } else if constexpr (std::is_floating_point_v<T>) {
    return "number";
  } else {
    return std::is_same_v<T, std::filesystem::path> ? "path" : "text";
  }
}

}  // namespace fields_detail

// Assigns the values of `values` to the fields visited, collecting errors and the keys it knows.
class FieldReader {
 public:
  FieldReader(const ConfigValues& values, std::vector<std::string>& errors) : values_(values), errors_(errors) {}

  template <class T>
  void operator()(const char* name, T& field, const char* /*help*/) {
    const std::string key = prefix_ + name;
    const auto found = values_.find(key);
    if constexpr (fields_detail::HasFields<T>) {
      sections_.insert(key);
      // A section whose keys are all commented out is null, and well.
      if (found != values_.end() && !is_null(found->second))
        errors_.push_back(fmt::format("{}: {} is a section, its keys are given one by one", found->second.where, key));
      const std::string outer = std::exchange(prefix_, key + ".");
      field.fields(*this);
      prefix_ = outer;
    } else if constexpr (fields_detail::IsNamed<T>::value) {
      sections_.insert(key);
      if (found != values_.end() && !is_null(found->second))
        errors_.push_back(fmt::format("{}: {} is a section of names, given one by one", found->second.where, key));
      read_named(key + ".", field);
    } else {
      known_.push_back(key);
      if (found == values_.end()) return;
      const ConfigValue& value = found->second;
      if constexpr (fields_detail::IsVector<T>::value) {
        if (is_null(value)) {
          errors_.push_back(fmt::format("{}: {} takes a list, not null; an empty one is []", value.where, key));
          return;
        }
        T items;
        for (const std::string& item : value.items) {
          typename T::value_type parsed{};
          if (!accept(key, value, item, fields_detail::parse_any(item, parsed))) return;
          items.push_back(parsed);
        }
        field = items;
      } else if constexpr (fields_detail::IsOptional<T>::value) {
        if (is_null(value)) {
          field.reset();
          return;
        }
        typename T::value_type parsed{};
        if (one_item(key, value) &&
            accept(key, value, value.items[0], fields_detail::parse_any(value.items[0], parsed)))
          field = parsed;
      } else {
        T parsed{};
        if (one_item(key, value) &&
            accept(key, value, value.items[0], fields_detail::parse_any(value.items[0], parsed)))
          field = parsed;
      }
    }
  }

  const std::vector<std::string>& known() const { return known_; }
  const std::set<std::string>& sections() const { return sections_; }

 private:
  static bool is_null(const ConfigValue& value) { return value.items.empty() && !value.is_list; }

  // Names behind `prefix` by the place of their first value; up to a dot unless `whole`.
  std::vector<std::string> names_behind(const std::string& prefix, bool whole) const {
    std::map<std::string, size_t> places;
    for (auto at = values_.lower_bound(prefix); at != values_.end() && at->first.starts_with(prefix); ++at) {
      const std::string rest = at->first.substr(prefix.size());
      const auto [entry, is_new] = places.emplace(whole ? rest : rest.substr(0, rest.find('.')), at->second.place);
      entry->second = std::min(entry->second, at->second.place);
    }
    std::vector<std::string> names;
    for (const auto& [name, place] : places) names.push_back(name);
    std::stable_sort(names.begin(), names.end(),
                     [&](const std::string& a, const std::string& b) { return places.at(a) < places.at(b); });
    return names;
  }
  template <class T>
  void read_named(const std::string& prefix, Named<T>& field) {
    constexpr bool kWhole = std::is_same_v<T, ConfigValue>;
    field.clear();
    for (const std::string& name : names_behind(prefix, kWhole)) {
      T& value = field.emplace_back(name, T{}).second;
      if constexpr (kWhole) {
        known_.push_back(prefix + name);
        value = values_.at(prefix + name);
      } else {
        const std::string outer = std::exchange(prefix_, prefix);
        (*this)(name.c_str(), value, "");
        prefix_ = outer;
      }
    }
  }
  bool one_item(const std::string& key, const ConfigValue& value) {
    if (!value.is_list && value.items.size() == 1) return true;
    errors_.push_back(
        fmt::format("{}: {} takes one value, not {}", value.where, key, value.is_list ? "a list" : "null"));
    return false;
  }
  bool accept(const std::string& key, const ConfigValue& value, const std::string& text, const std::string& expected) {
    if (expected.empty()) return true;
    errors_.push_back(fmt::format("{}: {} is '{}', expected {}", value.where, key, text, expected));
    return false;
  }

  const ConfigValues& values_;
  std::vector<std::string>& errors_;
  std::vector<std::string> known_;
  std::set<std::string> sections_;
  std::string prefix_;
};

// Calls `validate` of each struct visited that has one.
class FieldValidator {
 public:
  FieldValidator(const ConfigValues& values, std::vector<std::string>& errors) : values_(values), errors_(errors) {}

  template <class T>
  void check(T& config) {
    config.fields(*this);
    if constexpr (fields_detail::HasValidate<T>) {
      std::vector<std::string> found;
      config.validate(found);
      for (const std::string& error : found) {
        const auto value = values_.find(prefix_ + error.substr(0, error.find_first_of(" :,")));
        errors_.push_back((value == values_.end() ? "" : value->second.where + ": ") + prefix_ + error);
      }
    }
  }
  template <class T>
  void operator()(const char* name, T& field, const char* /*help*/) {
    if constexpr (fields_detail::HasFields<T>) {
      const std::string outer = std::exchange(prefix_, prefix_ + name + ".");
      check(field);
      prefix_ = outer;
    } else if constexpr (fields_detail::IsNamed<T>::value) {
      const std::string outer = std::exchange(prefix_, prefix_ + name + ".");
      for (auto& [inner, value] : field) (*this)(inner.c_str(), value, "");
      prefix_ = outer;
    }
  }

 private:
  const ConfigValues& values_;
  std::vector<std::string>& errors_;
  std::string prefix_;
};

// Writes the fields visited as YAML, nested structs as sections.
class FieldWriter {
 public:
  template <class T>
  void operator()(const char* name, T& field, const char* /*help*/) {
    const std::string indent(2 * depth_, ' ');
    if constexpr (fields_detail::HasFields<T>) {
      text_ += indent + name + ":\n";
      ++depth_;
      field.fields(*this);
      --depth_;
    } else if constexpr (std::is_same_v<T, ConfigValue>) {
      text_ += indent + name + ": " + format_value(field) + "\n";
    } else if constexpr (fields_detail::IsNamed<T>::value) {
      text_ += indent + name + ":" + (field.empty() ? " {}" : "") + "\n";
      ++depth_;
      for (auto& [inner, value] : field) (*this)(inner.c_str(), value, "");
      --depth_;
    } else if constexpr (fields_detail::IsVector<T>::value) {
      std::string items;
      for (const auto& item : field)
        items += (items.empty() ? "" : ", ") + fields_detail::format_any<typename T::value_type>(item);
      text_ += indent + name + ": [" + items + "]\n";
    } else if constexpr (fields_detail::IsOptional<T>::value) {
      text_ += indent + name + ": " + (field ? fields_detail::format_any(*field) : "null") + "\n";
    } else {
      text_ += indent + name + ": " + fields_detail::format_any(field) + "\n";
    }
  }
  const std::string& text() const { return text_; }

 private:
  size_t depth_ = 0;
  std::string text_;
};

// Lists each field with its dotted key, default, help text and type.
class FieldLister {
 public:
  struct Line {
    std::string key, value, help, type;
  };
  template <class T>
  void operator()(const char* name, T& field, const char* help) {
    if constexpr (fields_detail::HasFields<T>) {
      const std::string outer = std::exchange(prefix_, prefix_ + name + ".");
      field.fields(*this);
      prefix_ = outer;
    } else if constexpr (fields_detail::IsNamed<T>::value) {
      list_named(prefix_ + name, field, help);
    } else {
      FieldWriter writer;
      writer(name, field, help);
      std::string value = writer.text().substr(std::string(name).size() + 2);
      value.pop_back();
      lines_.push_back({prefix_ + name, value, help, fields_detail::type_name(field)});
    }
  }
  const std::vector<Line>& lines() const { return lines_; }

 private:
  // One name stands for all: NAME, or KEY where the name is a dotted key.
  template <class T>
  void list_named(const std::string& key, const Named<T>& /*field*/, const char* help) {
    if constexpr (std::is_same_v<T, ConfigValue>) {
      lines_.push_back({key + ".KEY", "", help, "any"});
    } else {
      T value{};
      const std::string outer = std::exchange(prefix_, key + ".");
      (*this)("NAME", value, help);
      prefix_ = outer;
    }
  }

  std::string prefix_;
  std::vector<Line> lines_;
};

// Reads a whole config. Throws BadInput listing every error: unknown keys (with the nearest known one), wrong types,
// and what `validate` finds.
template <class T>
T read_fields(const ConfigValues& values) {
  T config;
  std::vector<std::string> errors;
  FieldReader reader(values, errors);
  config.fields(reader);
  const std::set<std::string> known(reader.known().begin(), reader.known().end());
  for (const auto& [key, value] : values) {
    if (known.contains(key) || reader.sections().contains(key)) continue;
    const std::string near = nearest_key(key, reader.known());
    errors.push_back(
        fmt::format("{}: unknown key {}{}", value.where, key, near.empty() ? "" : ", did you mean " + near + "?"));
  }
  if (errors.empty()) FieldValidator(values, errors).check(config);
  if (errors.empty()) return config;
  std::string message;
  for (const std::string& error : errors) message += (message.empty() ? "" : "\n") + error;
  throw BadInput(message);
}

// `const_cast` because one `fields` serves reading and writing; the visitor only reads.
template <class T>
std::string dump_fields(const T& config) {
  FieldWriter writer;
  const_cast<T&>(config).fields(writer);
  return writer.text();
}

template <class T>
std::vector<FieldLister::Line> list_fields() {
  T config;
  FieldLister lister;
  config.fields(lister);
  return lister.lines();
}

}  // namespace spt
