package websocket

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppend(t *testing.T) {
	for _, n := range []int{0, 1, 7, 125, 126, 65535, 65536, 100_000} {
		payload := []byte(strings.Repeat("0123456789", n/10+1))[:n]
		want := fmt.Sprintf("2:%s", payload)
		server, client := AppendFrame(nil, Binary, payload), AppendMasked(nil, Binary, testMask, payload)
		if !bytes.Equal(server, rawFrame{first: fin | 2, payload: string(payload)}.append(nil, false)) ||
			!bytes.Equal(client, rawFrame{first: fin | 2, payload: string(payload)}.append(nil, true)) {
			t.Errorf("%d: the header is %x, of a client %x", n, server[:len(server)-n], client[:len(client)-n])
		}
		if got := parse(&Parser{Client: true}, server); got != want {
			t.Errorf("%d of a server: %.20q", n, got)
		}
		if got := parse(&Parser{}, client); got != want {
			t.Errorf("%d of a client: %.20q", n, got)
		}
	}
	// The example of section 5.7.
	if got := AppendMasked([]byte{1}, Text, testMask, []byte("Hello")); !bytes.Equal(got, []byte("\x01\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")) {
		t.Errorf("%x", got)
	}
}

func TestXor(t *testing.T) {
	for n := range 70 {
		for pos := range 5 {
			b, want := make([]byte, n), make([]byte, n)
			for i := range b {
				b[i] = byte(i)
				want[i] = byte(i) ^ testMask[(i+pos)%4]
			}
			if xor(b, testMask, pos); !bytes.Equal(b, want) {
				t.Fatalf("%d bytes from %d: %x, want %x", n, pos, b, want)
			}
		}
	}
}

func TestCloseCodes(t *testing.T) {
	valid := map[int]bool{}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		valid[code] = true
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		valid[code] = false
	}
	for code, ok := range valid {
		got, reason, err := ParseClose(append([]byte{byte(code >> 8), byte(code)}, "why"...))
		var e *CloseError
		if ok && (got != code || reason != "why" || err != nil) || !ok && (!errors.As(err, &e) || e.Code != CloseProtocol) {
			t.Errorf("%d: %d %q %v", code, got, reason, err)
		}
	}
	if code, reason, err := ParseClose(nil); code != CloseNoStatus || reason != "" || err != nil {
		t.Error(code, reason, err)
	}
	for payload, code := range map[string]int{"\x03": CloseProtocol, "\x03\xe8\xff": CloseInvalid, "\x03\xe8\xed\xa0\x80": CloseInvalid} {
		_, _, err := ParseClose([]byte(payload))
		var e *CloseError
		if !errors.As(err, &e) || e.Code != code {
			t.Errorf("%x: %v", payload, err)
		}
	}
}

func TestAppendClose(t *testing.T) {
	for reason, want := range map[string]string{
		"": "", "draining": "draining", "a\xffb": "a\uFFFDb",
		strings.Repeat("x", 200):       strings.Repeat("x", 123),
		strings.Repeat("é", 70):        strings.Repeat("é", 61),
		"xx" + strings.Repeat("€", 50): "xx" + strings.Repeat("€", 40),
	} {
		m, rest, ok, err := (&Parser{Client: true}).Next(AppendClose(nil, 4321, reason))
		if !ok || err != nil || len(rest) > 0 || m.Op != Close || len(m.Data) > 125 {
			t.Fatalf("%q: %v %v", reason, ok, err)
		}
		if code, got, err := ParseClose(m.Data); code != 4321 || got != want || err != nil || !utf8.ValidString(got) {
			t.Errorf("%q: %d %q %v", reason, code, got, err)
		}
	}
	if got := AppendClose(nil, CloseNoStatus, "unsaid"); !bytes.Equal(got, []byte{0x88, 0}) {
		t.Errorf("%x", got)
	}
}

// FuzzParser holds what is read at splits to what is read whole, and that nothing is made of nothing.
func FuzzParser(f *testing.F) {
	for _, frames := range [][]rawFrame{
		{{first: fin | 1, payload: "Hello"}, {first: fin | 9, payload: "p"}, {first: fin | 8, payload: "\x03\xe8bye"}},
		{{first: 1, payload: "κό\xcf"}, {first: fin | 0xa}, {first: 0, payload: "\x83"}, {first: fin, payload: "\xed\xa0"}},
		{{first: fin | 2, payload: strings.Repeat("x", 300)}, {first: fin | 2, size: 1 << 63}},
	} {
		for _, masked := range []bool{true, false} {
			var b []byte
			for _, fr := range frames {
				b = fr.append(b, masked)
			}
			f.Add(b, []byte{1, 3, 0, 7}, !masked)
		}
	}
	f.Fuzz(func(t *testing.T, b, cuts []byte, client bool) {
		whole := parse(&Parser{MaxBytes: 1000, Client: client}, bytes.Clone(b))
		i := 0
		pieces := splits(b, func(int) int {
			if i++; i > len(cuts) {
				return 1
			}
			return int(cuts[i-1])
		})
		p := &Parser{MaxBytes: 1000, Client: client}
		if split := parse(p, pieces...); split != whole {
			t.Fatalf("whole %q, split %q", whole, split)
		}
		if strings.Contains(whole, "and then") || strings.HasSuffix(whole, "memory is held") && !bytes.Contains(b, []byte("held")) {
			t.Fatal(whole)
		}
		if cap(p.message) > 2*len(b) {
			t.Fatalf("%d bytes kept of %d", cap(p.message), len(b))
		}
		// What was read is written and read again.
		p = &Parser{MaxBytes: 1000, Client: client}
		for in := b; ; {
			m, rest, ok, err := p.Next(in)
			if !ok || err != nil {
				return
			}
			in = rest
			again, _, ok, err := (&Parser{}).Next(AppendMasked(nil, m.Op, testMask, m.Data))
			if !ok || err != nil || again.Op != m.Op || !bytes.Equal(again.Data, m.Data) {
				t.Fatalf("%x %q became %x %q: %v", m.Op, m.Data, again.Op, again.Data, err)
			}
		}
	})
}

func BenchmarkUnmask(b *testing.B) {
	for _, n := range []int{16, 125, 1 << 10, 64 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			payload := make([]byte, n)
			b.SetBytes(int64(n))
			for b.Loop() {
				xor(payload, testMask, 1)
			}
		})
	}
}

func BenchmarkParser(b *testing.B) {
	for _, n := range []int{125, 1 << 10, 64 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			frame := AppendMasked(nil, Text, [4]byte{}, bytes.Repeat([]byte{'x'}, n)) // a mask that changes nothing, so that it can be read again
			p := &Parser{}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, ok, err := p.Next(frame); !ok || err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
