package distribution

import (
	"context"
	"io"
	"net/http"
	"time"
)

// stillLimit is how long a client may send nothing in the middle of a body.
const stillLimit = 30 * time.Second

// receive copies the request's body, or limit bytes of it. An error of the
// client's is a refusal.
func (c *call) receive(to io.Writer, limit int64) (n int64, err error) {
	control := http.NewResponseController(c.ResponseWriter)
	defer func() { _ = control.SetReadDeadline(time.Time{}) }() // where there is one
	b := make([]byte, 256<<10)
	for n < limit {
		_ = control.SetReadDeadline(time.Now().Add(stillLimit))
		if err := c.Context().Err(); err != nil { // or endWith comes after this
			return n, err
		}
		got, rerr := c.Body.Read(b[:min(int64(len(b)), limit-n)])
		if got > 0 {
			wrote, werr := to.Write(b[:got])
			if n += int64(wrote); werr != nil {
				return n, werr
			}
		}
		if rerr == io.EOF {
			return n, nil
		}
		if rerr != nil {
			return n, failure(http.StatusBadRequest, codeSizeInvalid, "the body ended after %d bytes", n)
		}
	}
	return n, nil
}

// endWith ends reads of a request's body and writes of its answer with its
// context, which may end before the connection. The function that it gives is
// for the end of the request.
func endWith(ctx context.Context, w http.ResponseWriter) (stop func() bool) {
	control := http.NewResponseController(w)
	return context.AfterFunc(ctx, func() {
		now := time.Now()
		_, _ = control.SetReadDeadline(now), control.SetWriteDeadline(now)
	})
}
