// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <exception>

namespace mixfuse::test {

/// What the body returns in a child of this process, 0 to 99; 100 if it throws, -1 if it hangs or
/// crashes. It runs no GoogleTest macros: nobody would hear of them.
template <class Body>
int in_child(Body const& body) {
  pid_t const child = fork();
  if (child == 0) {
    alarm(60);
    try {
      _exit(body());
    } catch (std::exception const& caught) {
      std::fprintf(stderr, "in the child: %s\n", caught.what());
    }
    _exit(100);
  }
  int status = -1;
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

}  // namespace mixfuse::test
