package stream_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/stream"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

// rawFrame writes a frame bit by bit: its first byte, its payload, masked, with a length of so many bytes (0: the shortest).
func rawFrame(first byte, payload string, size int) string {
	n := len(payload)
	b := []byte{first}
	switch {
	case size == 8 || size == 0 && n > 0xffff:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	case size == 2 || size == 0 && n > 125:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = append(b, 0x80|byte(n))
	}
	mask := [4]byte{0xa5, 0, 0xff, 0x17}
	b = append(b, mask[:]...)
	for i := range n {
		b = append(b, payload[i]^mask[i%4])
	}
	return string(b)
}

// publishFrame is a message that stores an event, of so many bytes of data.
func publishFrame(ref, size int) string {
	return fmt.Sprintf(`{"publish":{"ref":%d,"event":{"specversion":"1.0","source":"/c","type":"é","id":"%d","data":"%s"}}}`, ref, ref, strings.Repeat("x", size))
}

// receipt reads up to the next receipt.
func (s *socket) receipt() float64 {
	s.t.Helper()
	for {
		f := s.frame()
		if f.Problem != nil {
			s.t.Fatalf("problem %v", f.Problem)
		}
		if f.Receipt != nil {
			return f.Receipt["ref"].(float64)
		}
	}
}

// TestMessagesInEveryShape: lengths of each class, in fragments with pings between, and byte by byte.
func TestMessagesInEveryShape(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{}, publishing)
	s := h.socket("topic=b", tandemV1)
	ref := 0
	for _, size := range []int{0, 10, 1000, 65_400, 65_536, 200_000} {
		for _, length := range []int{0, 2, 8} {
			ref++
			text := publishFrame(ref, size)
			if length == 2 && len(text) > 0xffff {
				length = 8
			}
			if length == 0 && len(text) < 126 {
				text += strings.Repeat(" ", 10) // white space behind it
			}
			if _, err := s.conn.Write([]byte(rawFrame(0x81, text, length))); err != nil {
				t.Fatal(err)
			}
			if got := s.receipt(); got != float64(ref) {
				t.Errorf("%d bytes, length in %d: receipt %v", size, length, got)
			}
		}
	}
	// In fragments, empty ones and such as cut a character among them.
	ref++
	text := publishFrame(ref, 20)
	cut := strings.Index(text, "é") + 1
	var all string
	for i, part := range []string{"", text[:5], text[5:cut], text[cut : cut+1], text[cut+1:], ""} {
		first := byte(0)
		if i == 0 {
			first = 1
		}
		if i == 5 {
			first = 0x80
		}
		all += rawFrame(first, part, 0) + rawFrame(0x89, fmt.Sprint("ping ", i), 0) + rawFrame(0x8a, "nobody asked", 0)
	}
	for i := range len(all) {
		if _, err := s.conn.Write([]byte(all[i : i+1])); err != nil {
			t.Fatal(err)
		}
	}
	stored := false // the receipt may come before the last pong
	for pongs := 0; pongs < 6 || !stored; {
		m, ok := s.next()
		if !ok {
			t.Fatal("the connection ended")
		}
		if m.Op == websocket.Text {
			stored = stored || strings.Contains(string(m.Data), fmt.Sprintf(`{"receipt":{"ref":%d,`, ref))
			continue
		}
		if m.Op != websocket.Pong || string(m.Data) != fmt.Sprint("ping ", pongs) {
			t.Fatalf("%d %q, want pong %d", m.Op, m.Data, pongs)
		}
		pongs++
	}
	// Pings are answered with what they had, at any length.
	for _, n := range []int{0, 1, 124, 125} {
		payload := strings.Repeat("\x00\xff\r\n", 32)[:n]
		s.send(websocket.Ping, payload)
		if m := s.control(); m.Op != websocket.Pong || string(m.Data) != payload {
			t.Errorf("%d %q, want %q", m.Op, m.Data, payload)
		}
	}
}

// TestBrokenFrames: what breaks the protocol closes the connection with the code that says so, as soon as it is seen.
func TestBrokenFrames(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{MaxEventBytes: 1 << 10}, publishing)
	type sent struct {
		bytes string
		code  int
	}
	table := map[string]sent{
		"not masked":                  {"\x81\x02{}", 1002},
		"reserved bit 1":              {rawFrame(0xc1, "{}", 0), 1002},
		"reserved bit 2":              {rawFrame(0xa1, "{}", 0), 1002},
		"reserved bit 3":              {rawFrame(0x91, "{}", 0), 1002},
		"a ping in fragments":         {rawFrame(0x09, "x", 0), 1002},
		"a long ping":                 {rawFrame(0x89, strings.Repeat("x", 126), 0), 1002},
		"a long close":                {rawFrame(0x88, "\x03\xe8"+strings.Repeat("x", 124), 0), 1002},
		"a continuation of nothing":   {rawFrame(0x80, "x", 0), 1002},
		"a message within another":    {rawFrame(0x01, "x", 0) + rawFrame(0x81, "y", 0), 1002},
		"the top bit of a length":     {"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00", 1002},
		"binary":                      {rawFrame(0x82, "x", 0), 1003},
		"not UTF-8":                   {rawFrame(0x81, "a\xffb", 0), 1007},
		"a surrogate":                 {rawFrame(0x81, "\xed\xa0\x80", 0), 1007},
		"a cut character":             {rawFrame(0x81, "a\xc3", 0), 1007},
		"not UTF-8, early":            {rawFrame(0x01, "a\xc3\x28", 0), 1007}, // before the last fragment
		"not UTF-8, a piece of it":    {"\x81\xfe\x03\xe8\x00\x00\x00\x00abc\xff", 1007},
		"larger than any event":       {"\x81\xff\x00\x00\x00\x00\x7f\xff\xff\xff\x00\x00\x00\x00", 1009}, // nothing of it was sent
		"larger in its fragments":     {rawFrame(0x01, strings.Repeat("x", 60<<10), 0) + rawFrame(0x00, strings.Repeat("x", 20<<10), 0), 1009},
		"half a close code":           {rawFrame(0x88, "\x03", 0), 1002},
		"a close reason in latin 1":   {rawFrame(0x88, "\x03\xe8\xe9", 0), 1007},
		"a close without a code":      {rawFrame(0x88, "", 0), 1000},
		"a close, and more behind it": {rawFrame(0x88, "\x03\xe9", 0) + "garbage" + rawFrame(0x82, "x", 0) + rawFrame(0x89, "x", 0), 1001},
	}
	for op := range byte(16) {
		if op >= 3 && op <= 7 || op > 10 {
			table[fmt.Sprint("opcode ", op)] = sent{rawFrame(0x80|op, "", 0), 1002}
		}
	}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		table[fmt.Sprint("close ", code)] = sent{rawFrame(0x88, string([]byte{byte(code >> 8), byte(code)})+"bye", 0), code}
	}
	for _, code := range []int{0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535} {
		table[fmt.Sprint("close ", code)] = sent{rawFrame(0x88, string([]byte{byte(code >> 8), byte(code)}), 0), 1002}
	}
	for name, c := range table {
		s := h.socket("topic=a", tandemV1)
		if _, err := s.conn.Write([]byte(c.bytes)); err != nil {
			t.Fatal(err)
		}
		if code, _ := s.closed(); code != c.code {
			t.Errorf("%s: %d, want %d", name, code, c.code)
		}
	}
	h.idle()
}

// TestPublishedBeforeItBroke: what came before a frame that ends the connection is stored.
func TestPublishedBeforeItBroke(t *testing.T) {
	for name, end := range map[string]string{"binary": rawFrame(0x82, "x", 0), "reserved": rawFrame(0x83, "", 0), "close": rawFrame(0x88, "\x03\xe8", 0)} {
		h := newHarness(t, memlog.Options{}, stream.Options{}, publishing)
		s := h.socket("topic=b", tandemV1)
		if _, err := s.conn.Write([]byte(rawFrame(0x81, publishFrame(1, 1), 0) + end)); err != nil {
			t.Fatal(err)
		}
		if got := s.receipt(); got != 1 {
			t.Errorf("%s: receipt %v", name, got)
		}
		if _, page := get(h, "topic=a&from=earliest"); len(page.Events) != 1 {
			t.Errorf("%s: %d events are stored", name, len(page.Events))
		}
	}
}

// TestHalfAFrame: a client that leaves within a frame, or within a message, leaves nothing behind.
func TestHalfAFrame(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{}, publishing)
	whole := rawFrame(0x81, publishFrame(1, 200), 0)
	for cut := 1; cut < len(whole); cut += 7 {
		s := h.socket("topic=a", tandemV1)
		if _, err := s.conn.Write([]byte(whole[:cut])); err != nil {
			t.Fatal(err)
		}
		s.conn.Close()
	}
	h.idle()
	if _, page := get(h, "topic=a&from=earliest"); len(page.Events) != 0 {
		t.Errorf("%d events came of it", len(page.Events))
	}
}

// TestPingFlood: who sends pings and does not take the pongs is not read from any more, and let go; who takes them gets each.
func TestPingFlood(t *testing.T) {
	h := newHarness(t, memlog.Options{}, stream.Options{WriteTimeout: 300 * time.Millisecond}, narrow)
	ping := []byte(strings.Repeat(rawFrame(0x89, strings.Repeat("p", 100), 0), 100))
	s := h.socket("topic=a", tandemV1)
	sent := 0
	_ = s.conn.SetWriteDeadline(time.Now().Add(30 * time.Second))
	for {
		n, err := s.conn.Write(ping)
		if sent += n; err != nil {
			break
		}
		if sent > 64<<20 {
			t.Fatal("the server reads on")
		}
	}
	h.idle()
	s = h.socket("topic=a", tandemV1)
	done := make(chan error, 1)
	go func() { _, err := s.conn.Write(ping); done <- err }()
	for range 100 {
		if m := s.control(); m.Op != websocket.Pong || len(m.Data) != 100 {
			t.Fatalf("%d %q", m.Op, m.Data)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
