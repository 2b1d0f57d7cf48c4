// Several ranks in one process, a thread each, over real sockets.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "train/rendezvous.h"

namespace tiny {

/// A port that nobody listens at.
inline int64_t free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(socket, generic, size) != 0 || ::getsockname(socket, generic, &size) != 0)
    throw std::runtime_error("no free port");
  ::close(socket);
  return ntohs(address.sin_port);
}

inline cots::Rendezvous meeting(int64_t rank, int64_t world, int64_t port, int64_t seconds = 20) {
  return {.rank = rank,
          .world = world,
          .address = "127.0.0.1",
          .port = port,
          .is_server = rank == 0,
          .attempt = "0",
          .timeout = std::chrono::seconds(seconds)};
}

/// Runs `body` on each rank; throws what the first rank that failed threw.
inline void on_ranks(int64_t world, const std::function<void(const cots::Group&)>& body,
                     int64_t seconds = 20) {
  const int64_t port = free_port();
  std::vector<std::exception_ptr> failures(static_cast<size_t>(world));
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < world; ++rank)
    threads.emplace_back([&, rank] {
      try {
        body(cots::join(meeting(rank, world, port, seconds), {{"step"}}).front());
      } catch (...) {
        failures[static_cast<size_t>(rank)] = std::current_exception();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
}

}  // namespace tiny
