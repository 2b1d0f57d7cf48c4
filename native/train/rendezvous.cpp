#include "train/rendezvous.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "device/collectives.h"
#include "io/failure.h"
#include "ops/cancel.h"

namespace cots {
namespace {

using Clock = std::chrono::steady_clock;
using Store = c10::intrusive_ptr<c10d::Store>;

constexpr auto kTry = std::chrono::milliseconds(100);
constexpr auto kLook = std::chrono::milliseconds(20);

std::string where(const Rendezvous& m) { return m.address + ":" + std::to_string(m.port); }

Failure not_met(const Rendezvous& m, const std::string& found) {
  return {"ERR_COTS_DISTRIBUTED",
          "Expected " + std::to_string(m.world) + " ranks to meet at " + where(m) + " within " +
              std::to_string(m.timeout.count() / 1000) + " s (train.timeout), rank " +
              std::to_string(m.rank) + " found " + found +
              ". Check that every rank was started with the same MASTER_ADDR, MASTER_PORT and "
              "WORLD_SIZE, that the port is free and that no firewall is between them."};
}

/// Whether something listens there. c10d's own attempts print stacks to stderr while rank 0 has yet
/// to start, and do not see that the job was cancelled.
bool listens(const Rendezvous& m) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(m.address.c_str(), std::to_string(m.port).c_str(), &hints, &found) != 0)
    return false;
  bool connected = false;
  for (const addrinfo* one = found; one != nullptr && !connected; one = one->ai_next) {
    const int socket = ::socket(one->ai_family, one->ai_socktype, one->ai_protocol);
    if (socket < 0) continue;
    connected = ::connect(socket, one->ai_addr, one->ai_addrlen) == 0;
    ::close(socket);
  }
  ::freeaddrinfo(found);
  return connected;
}

/// Rank 0's store, which the others try to reach until it is there.
Store open_store(const Rendezvous& m, Clock::time_point end) {
  while (!m.is_server && !listens(m)) {
    ops::check_cancelled();
    if (Clock::now() >= end) throw not_met(m, "nobody listening there");
    std::this_thread::sleep_for(kTry);
  }
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(m.port);
  options.isServer = m.is_server;
  options.numWorkers = m.world;
  options.waitWorkers = false;
  options.timeout = m.timeout;
  try {
    return c10::make_intrusive<c10d::TCPStore>(m.address, options);
  } catch (const std::exception& error) {
    const std::string text = error.what();
    throw not_met(m, "no store there: " + text.substr(0, text.find('\n')));
  }
}

/// Polls, where c10d's own wait would not see that the job was cancelled.
void wait_for_all(const Rendezvous& m, const Store& store, Clock::time_point end) {
  int64_t there = store->add("ranks", 1);
  while (there < m.world) {
    ops::check_cancelled();
    if (Clock::now() >= end) throw not_met(m, std::to_string(there) + " of them");
    std::this_thread::sleep_for(kLook);
    there = store->add("ranks", 0);
  }
}

c10::intrusive_ptr<c10d::Backend> connect(const Rendezvous& m, at::Device device,
                                          const Store& store) {
  if (!device.is_cpu())
    return device::connect(device, store, static_cast<int>(m.rank), static_cast<int>(m.world));
  auto options = c10d::ProcessGroupGloo::Options::create(m.timeout);
  options->devices.push_back(c10d::ProcessGroupGloo::createDefaultDevice());
  return c10::make_intrusive<c10d::ProcessGroupGloo>(store, static_cast<int>(m.rank),
                                                     static_cast<int>(m.world), options);
}

}  // namespace

std::vector<Group> join(const Rendezvous& m, const std::vector<GroupName>& names) {
  std::vector<Group> groups(names.size());
  if (m.world == 1) return groups;
  const Clock::time_point end = Clock::now() + m.timeout;
  const Store store =
      c10::make_intrusive<c10d::PrefixStore>("cots/" + m.attempt, open_store(m, end));
  try {
    wait_for_all(m, store, end);
    for (size_t i = 0; i < names.size(); ++i)
      groups[i] = Group(
          connect(m, names[i].device, c10::make_intrusive<c10d::PrefixStore>(names[i].name, store)),
          m.timeout);
    // The store lives in rank 0, which must not be gone before the others have read it.
    groups.back().barrier();
  } catch (const c10::Error& error) {
    throw not_met(m, error.what_without_backtrace());
  }
  return groups;
}

}  // namespace cots
