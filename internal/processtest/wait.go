package processtest

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// alive reports whether a process has not ended. One that has ended and that nobody has asked about yet counts as ended.
func alive(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// pause lets others run before something is looked at again.
func pause() { <-time.After(5 * time.Millisecond) }
