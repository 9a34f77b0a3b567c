package wait

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestWriteLongAfterTheRequest: a stream answers pings for as long as it is open, and a server that takes nothing ends it.
func TestWriteLongAfterTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		c := &conn{line: &Line{}, Conn: near, in: bufio.NewReader(near)}
		pongs := make(chan error, 1)
		go func() {
			in := bufio.NewReader(far)
			for line := ""; line != "\r\n"; line, _ = in.ReadString('\n') {
			}
			_, _ = io.WriteString(far, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			_, err := in.ReadByte()
			pongs <- err
		}()
		res, err := c.get("/", "")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		time.Sleep(time.Hour)
		if _, err := c.Write([]byte{1}); err != nil || <-pongs != nil {
			t.Error(err)
		}
		began := time.Now()
		if _, err := c.Write([]byte{1}); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != writeTimeout {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}
