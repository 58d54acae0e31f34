package egress

import (
	"encoding/json"
	"io"
	"sync"
)

// Record writes to w what [Watch] tells of, as a line of JSON for each
// connection and lookup: a [Decision] that has ended. Lines are written one at a time,
// each by one call of Write; an error of w is ignored, so that a full disk does
// not close the way out.
func Record(w io.Writer, d Dialer) Dialer {
	r := &recorder{w: w}
	return Watch(d, r.write)
}

type recorder struct {
	mu sync.Mutex
	w  io.Writer
}

func (r *recorder) write(d Decision) {
	if !d.Ended {
		return // another comes
	}
	line, err := json.Marshal(d)
	if err != nil {
		return // of strings and numbers
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = r.w.Write(append(line, '\n'))
}
