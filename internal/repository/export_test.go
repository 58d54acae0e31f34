package repository

import (
	"net/http"
	"time"

	"github.com/ctorhq/ctor/internal/engine"
)

// Impatient is Handler with another wait.
func Impatient(e *engine.Engine, wait time.Duration) http.Handler {
	s := &store{e: e, wait: wait, claims: map[claimKey]*claim{}}
	return s.handler()
}
