#include <doctest/doctest.h>

#include "ops/cancel.h"

using namespace cots::ops;

TEST_CASE("check_cancelled throws only under a set flag of this thread") {
  CHECK_NOTHROW(check_cancelled());
  std::atomic<bool> flag{false}, other{true};
  {
    const CancelScope scope(&flag);
    CHECK_NOTHROW(check_cancelled());
    flag = true;
    CHECK_THROWS_AS(check_cancelled(), Cancelled);
    {
      const CancelScope inner(nullptr);
      CHECK_NOTHROW(check_cancelled());
    }
    CHECK(cancel_flag() == &flag);
  }
  CHECK(cancel_flag() == nullptr);
  CHECK_NOTHROW(check_cancelled());
}
