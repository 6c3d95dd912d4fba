#include "base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include "base/error.h"

namespace spt {

void setup_log(int rank, int size) {
  auto logger = std::make_shared<spdlog::logger>("spt", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  const int width = static_cast<int>(std::to_string(size - 1).size());
  logger->set_pattern(size > 1 ? fmt::format("%H:%M:%S [{:>{}}] %^%l%$ %v", rank, width) : "%H:%M:%S %^%l%$ %v");
  logger->set_level(rank == 0 ? spdlog::level::info : spdlog::level::warn);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(logger);
}

void log_to_file(const std::filesystem::path& path) {
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path.string());
    sink->set_pattern("%Y-%m-%d %H:%M:%S %l %v");
    spdlog::default_logger()->sinks().push_back(sink);  // the second one: log_to_file_only
  } catch (const spdlog::spdlog_ex& error) {
    throw Failure(fmt::format("{}: cannot open the log: {}", path.string(), error.what()));
  }
}

void log_to_file_only(const std::string& text) {
  const auto logger = spdlog::default_logger();
  if (logger->sinks().size() < 2) return;
  logger->sinks()[1]->log(spdlog::details::log_msg(logger->name(), spdlog::level::info, text));
  logger->sinks()[1]->flush();
}

}  // namespace spt
