package onnx

import (
	"bytes"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// machineMemory is the memory that the machine and this process's control groups
// allow, in bytes; 0 when unknown.
var machineMemory = sync.OnceValue(func() int64 {
	var have int64
	note := func(n int64) {
		if n > 0 && (have == 0 || n < have) {
			have = n
		}
	}
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) == nil {
		note(int64(uint64(info.Totalram) * uint64(info.Unit)))
	}
	// "0::/some/group" in version 2, "4:memory:/some/group" in version 1. A group
	// is bound by those around it too; inside a container it may be seen as "/".
	groups, _ := os.ReadFile("/proc/self/cgroup")
	for line := range bytes.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		if len(parts) != 3 {
			continue
		}
		root, file := "/sys/fs/cgroup", "memory.max"
		if strings.Contains(","+parts[1]+",", ",memory,") {
			root, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		} else if parts[0] != "0" {
			continue
		}
		for group := path.Clean("/" + parts[2]); ; group = path.Dir(group) {
			text, err := os.ReadFile(path.Join(root, group, file))
			if n, bad := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && bad == nil {
				note(n)
			}
			if group == "/" {
				break
			}
		}
	}
	return have
})
