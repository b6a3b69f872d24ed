//go:build unix

package bounded

import "syscall"

// nonblocking makes the opening of a pipe return although nobody writes to it.
const nonblocking = syscall.O_NONBLOCK
