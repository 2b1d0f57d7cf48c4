// The native tests' main function. Run with the working folder at the project's root; `--help`
// lists doctest's options.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
