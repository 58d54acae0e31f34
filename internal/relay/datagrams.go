package relay

import (
	"net"
	"sync"
	"time"
)

// Largest is the longest datagram that there is.
const Largest = 64 << 10

// JoinDatagrams passes datagrams on both ways, until none has come for as long
// as idle, or one end is closed. Then both are.
func JoinDatagrams(a, b net.Conn, idle time.Duration) {
	var other sync.WaitGroup
	other.Go(func() { passDatagrams(a, b, idle) })
	passDatagrams(b, a, idle)
	other.Wait()
}

func passDatagrams(to, from net.Conn, idle time.Duration) {
	defer to.Close()
	defer from.Close()
	buf := chunks.Get().(*[chunk]byte)
	defer chunks.Put(buf)
	for {
		_ = from.SetReadDeadline(time.Now().Add(idle))
		n, err := from.Read(buf[:])
		if err != nil {
			return
		}
		_, _ = to.Write(buf[:n]) // a datagram may be lost
	}
}
