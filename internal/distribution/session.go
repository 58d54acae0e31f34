package distribution

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// Bounds on uploads: how many there may be at once, and how long a client may
// take to go on with one.
const (
	maxUploads = 256
	idleLimit  = 10 * time.Minute
)

// uploads are the sessions in which blobs are written.
type uploads struct {
	limit int
	idle  time.Duration

	mu     sync.Mutex
	all    map[string]*upload
	closed bool
}

// upload is one session. Its fields are its turn's.
type upload struct {
	id, repo string
	in       Ingest        // nil as long as there are no bytes
	turn     chan struct{} // holds one token, which the request that has it takes out
	timer    *time.Timer   // drops the session when it is left alone

	since time.Time // when the last request was done; guarded by uploads.mu
	busy  bool      // likewise: a request has the turn, or waits for it
}

func (u *uploads) init() {
	u.limit, u.idle, u.all = maxUploads, idleLimit, map[string]*upload{}
}

// begin makes a session. Where there are too many, the one that was idle for the
// longest time is dropped.
func (u *uploads) begin(repo string) (*upload, error) {
	s := &upload{id: rand.Text(), repo: repo, turn: make(chan struct{}, 1), busy: true}
	s.timer = time.AfterFunc(u.idle, func() { u.expire(s) })
	s.timer.Stop() // until the turn is given
	oldest, err := u.add(s)
	if oldest != nil {
		oldest.drop()
	}
	return s, err
}

// add takes a session in, and gives the one that has to go for it.
func (u *uploads) add(s *upload) (oldest *upload, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return nil, fmt.Errorf("the registry is closed: %w", errdefs.ErrUnavailable)
	}
	if len(u.all) >= u.limit {
		for _, o := range u.all {
			if !o.busy && (oldest == nil || o.since.Before(oldest.since)) {
				oldest = o
			}
		}
		if oldest == nil {
			return nil, fmt.Errorf("%d uploads are under way: %w", len(u.all), errdefs.ErrResourceExhausted)
		}
		delete(u.all, oldest.id)
	}
	u.all[s.id] = s
	return oldest, nil
}

// take gives a session to a request, when those before it are done.
func (u *uploads) take(ctx context.Context, id, repo string) (*upload, error) {
	u.mu.Lock()
	s := u.all[id]
	if s == nil || s.repo != repo {
		u.mu.Unlock()
		return nil, failure(http.StatusNotFound, codeUploadUnknown, "there is no upload %.40q in %s", id, repo)
	}
	s.busy = true
	u.mu.Unlock()
	select {
	case <-s.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.timer.Stop()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all[id] != s { // it was ended meanwhile
		s.turn <- struct{}{}
		return nil, failure(http.StatusNotFound, codeUploadUnknown, "there is no upload %.40q in %s any more", id, repo)
	}
	s.busy = true
	return s, nil
}

// give ends a request's turn.
func (u *uploads) give(s *upload) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s.since, s.busy = time.Now(), false
	if u.all[s.id] == s {
		s.timer.Reset(u.idle)
	}
	s.turn <- struct{}{}
}

// end forgets a session whose turn the caller has.
func (u *uploads) end(s *upload) error {
	u.mu.Lock()
	delete(u.all, s.id)
	u.mu.Unlock()
	return s.close()
}

// expire drops a session that no request has come for.
func (u *uploads) expire(s *upload) {
	u.mu.Lock()
	if u.all[s.id] != s || s.busy {
		u.mu.Unlock()
		return
	}
	delete(u.all, s.id)
	u.mu.Unlock()
	s.drop()
}

// drop closes a session that is forgotten.
func (s *upload) drop() {
	<-s.turn
	_ = s.close() // the store says so itself where that matters
	s.turn <- struct{}{}
}

func (s *upload) close() error {
	s.timer.Stop()
	if s.in == nil {
		return nil
	}
	return s.in.Close()
}

func (u *uploads) close() error {
	u.mu.Lock()
	all := u.all
	u.all, u.closed = map[string]*upload{}, true
	u.mu.Unlock()
	var errs []error
	for _, s := range all {
		<-s.turn
		errs = append(errs, s.close())
		s.turn <- struct{}{}
	}
	return errors.Join(errs...)
}

// size is how much there is of the blob.
func (s *upload) size() int64 {
	if s.in == nil {
		return 0
	}
	return s.in.Size()
}
