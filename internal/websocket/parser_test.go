package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// A frame as a peer might send it, right or wrong.
type rawFrame struct {
	first   byte // FIN, RSV and opcode
	payload string
	size    uint64 // announced; zero means that of payload
	form    byte   // 126 or 127: the longer forms of the length
	as      byte   // 's' is masked the wrong way round
}

const fin = finBit

var testMask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

func (f rawFrame) append(dst []byte, masked bool) []byte {
	if f.as == 's' {
		masked = !masked
	}
	size := f.size
	if size == 0 {
		size = uint64(len(f.payload))
	}
	bit := byte(0)
	if masked {
		bit = maskBit
	}
	dst = append(dst, f.first)
	switch {
	case f.form == 127 || f.form == 0 && size > 0xffff:
		dst = binary.BigEndian.AppendUint64(append(dst, bit|127), size)
	case f.form == 126 || size > 125:
		dst = binary.BigEndian.AppendUint16(append(dst, bit|126), uint16(size))
	default:
		dst = append(dst, bit|byte(size))
	}
	if !masked {
		return append(dst, f.payload...)
	}
	dst = append(dst, testMask[:]...)
	for i := range len(f.payload) {
		dst = append(dst, f.payload[i]^testMask[i%4])
	}
	return dst
}

// parse feeds pieces and returns what came of them, "1:text" for each message and at last "!code", "+" when something is incomplete.
func parse(p *Parser, pieces ...[]byte) string {
	var out strings.Builder
	for _, b := range pieces {
		for {
			m, rest, ok, err := p.Next(b)
			if err != nil {
				var e *CloseError
				if _, _, _, again := p.Next([]byte{1}); !errors.As(err, &e) || again != err {
					return fmt.Sprintf("%v, and then %v", err, again)
				}
				fmt.Fprintf(&out, "!%d", e.Code)
				return out.String()
			}
			if !ok {
				break
			}
			fmt.Fprintf(&out, "%x:%s ", m.Op, m.Data)
			b = rest
		}
	}
	switch {
	case p.inPayload || p.fragmented || p.headerLen > 0:
		out.WriteString("+")
	case p.message != nil || p.control != nil || p.checked != 0:
		out.WriteString("memory is held")
	}
	return strings.TrimSuffix(out.String(), " ")
}

func splits(b []byte, next func(left int) int) [][]byte {
	var out [][]byte
	for len(b) > 0 {
		n := min(len(b), max(0, next(len(b))))
		out = append(out, bytes.Clone(b[:n]))
		b = b[n:]
	}
	return out
}

func TestParser(t *testing.T) {
	frame := func(first byte, payload string) rawFrame { return rawFrame{first: first, payload: payload} }
	tests := []struct {
		name   string
		frames []rawFrame
		want   string
	}{
		{"nothing", nil, ""},
		{"ping and pong", []rawFrame{frame(fin|9, "are you there"), frame(fin|0xa, ""), frame(fin|9, strings.Repeat("x", 125))},
			"9:are you there a: 9:" + strings.Repeat("x", 125)},
		{"close", []rawFrame{frame(fin|8, "\x03\xe8bye")}, "8:\x03\xe8bye"},
		{"fragments", []rawFrame{frame(1, "a"), frame(0, ""), frame(0, "b"), frame(fin, "c"), frame(fin|2, "d")}, "1:abc 2:d"},
		{"empty fragments", []rawFrame{frame(1, ""), frame(0, ""), frame(fin, "")}, "1:"},
		{"control between fragments", []rawFrame{frame(2, "a"), frame(fin|9, "p"), frame(0, "b"), frame(fin|0xa, "q"), frame(fin, ""), frame(fin|9, "")},
			"9:p a:q 2:ab 9:"},
		{"close between fragments", []rawFrame{frame(1, "a"), frame(fin|8, "")}, "8: +"},
		{"lengths in longer forms", []rawFrame{{first: fin | 1, payload: "a", form: 126}, {first: fin | 1, payload: "b", form: 127}}, "1:a 1:b"},
		{"length with its top bit", []rawFrame{{first: fin | 2, size: 1 << 63}}, "!1002"},
		{"length of all bits", []rawFrame{{first: fin | 2, size: 1<<64 - 1}}, "!1002"},
		{"incomplete", []rawFrame{{first: fin | 1, payload: "abc", size: 4}}, "+"},
		{"as large as may be", []rawFrame{frame(fin|2, strings.Repeat("x", 70000))}, "2:" + strings.Repeat("x", 70000)},
		{"too large, payload missing", []rawFrame{{first: fin | 2, size: 70001}}, "!1009"},
		{"much too large", []rawFrame{{first: fin | 2, size: 1<<63 - 1}}, "!1009"},
		{"fragments as large as may be", []rawFrame{frame(2, strings.Repeat("x", 69999)), frame(fin, "x")}, "2:" + strings.Repeat("x", 70000)},
		{"too large by the last fragment", []rawFrame{frame(2, strings.Repeat("x", 69999)), {first: fin, size: 2}}, "!1009"},
		{"too large after a good one", []rawFrame{frame(fin|1, "a"), {first: fin | 0x2, size: 1 << 40}}, "1:a !1009"},
		{"continuation of nothing", []rawFrame{frame(fin, "a")}, "!1002"},
		{"unfinished continuation of nothing", []rawFrame{frame(0, "a")}, "!1002"},
		{"continuation after the end", []rawFrame{frame(1, "a"), frame(fin, "b"), frame(fin, "c")}, "1:ab !1002"},
		{"new message within a fragmented one", []rawFrame{frame(1, "a"), frame(fin|1, "b")}, "!1002"},
		{"new fragments within a fragmented message", []rawFrame{frame(1, "a"), frame(2, "b")}, "!1002"},
		{"fragmented ping", []rawFrame{frame(9, "a")}, "!1002"},
		{"fragmented close", []rawFrame{frame(8, "")}, "!1002"},
		{"long ping", []rawFrame{frame(fin|9, strings.Repeat("x", 126))}, "!1002"},
		{"short ping in a longer form", []rawFrame{{first: fin | 9, payload: "x", form: 126}}, "!1002"},
		{"the wrong side", []rawFrame{{first: fin | 1, payload: "a", as: 's'}}, "!1002"},
		{"first of two reserved bits", []rawFrame{frame(fin|0x60|1, "a")}, "!1002"},
	}
	for _, n := range []int{0, 1, 125, 126, 127, 128, 65535, 65536} {
		payload := strings.Repeat("*", n)
		for op := byte(1); op <= 2; op++ {
			tests = append(tests, struct {
				name   string
				frames []rawFrame
				want   string
			}{fmt.Sprintf("op %d of %d", op, n), []rawFrame{frame(fin|op, payload), frame(fin|9, "")}, fmt.Sprintf("%d:%s 9:", op, payload)})
		}
	}
	for _, first := range []byte{0x40, 0x20, 0x10, 3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf} {
		if first >= 0x10 {
			first |= 1
		}
		tests = append(tests, struct {
			name   string
			frames []rawFrame
			want   string
		}{fmt.Sprintf("reserved %x", first), []rawFrame{frame(fin|1, "a"), frame(fin|first, "b"), frame(fin|9, "")}, "1:a !1002"})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, client := range []bool{false, true} {
				var b []byte
				for _, f := range tt.frames {
					b = f.append(b, !client)
				}
				feed(t, b, tt.want, client)
			}
		})
	}
}

// feed parses b whole, byte by byte and at random splits.
func feed(t *testing.T, b []byte, want string, client bool) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, uint64(len(b))))
	for name, next := range map[string]func(int) int{
		"whole":        func(left int) int { return left },
		"byte by byte": func(int) int { return 1 },
		"small":        func(int) int { return rng.IntN(5) },
		"halves":       func(left int) int { return left/2 + 1 },
		"random":       func(left int) int { return rng.IntN(left + 1) },
	} {
		if got := parse(&Parser{MaxBytes: 70000, Client: client}, splits(b, next)...); got != want {
			t.Errorf("client %v, %s: %.80q, want %.80q", client, name, got, want)
		}
	}
}

func TestTextIsUTF8(t *testing.T) {
	for text, valid := range map[string]bool{
		"κόσμε": true, "\U00010000\U0010ffff": true, "\x00\x7f": true, "\u0080\u07ff": true, "\u0800\uffff": true, "\ud7ff\ue000": true,
		"\ufffd\ufffe\ufeff": true, "Hello-µ@ßöäüàá-UTF-8!!": true,
		"\x80": false, "\xbf": false, "a\x80b": false, "\xc0": false, "\xc3": false, "\xe2\x82": false, "\xf0\x9f\x98": false, "\xfe": false, "\xff": false,
		"\xc0\xaf": false, "\xe0\x80\xaf": false, "\xf0\x80\x80\xaf": false, "\xc1\xbf": false, "\xe0\x9f\xbf": false, "\xf0\x8f\xbf\xbf": false, // overlong
		"\xf8\x88\x80\x80\x80": false, "\xfc\x84\x80\x80\x80\x80": false, "\xf4\x90\x80\x80": false, "\xf5\x80\x80\x80": false, // beyond Unicode
		"\xed\xa0\x80": false, "\xed\xaf\xbf": false, "\xed\xb0\x80": false, "\xed\xbf\xbf": false, "\xed\xa0\x80\xed\xb0\x80": false, // surrogates
		"\xe2\x28\xa1": false, "\xf0\x9f\x98a": false, "κόσμ\xce": false, "κόσμε\xed\xa0\x80edited": false,
	} {
		want := "!1007"
		if valid {
			want = "1:" + text
		}
		for cut := range len(text) + 1 { // fragments cut characters
			b := rawFrame{first: 1, payload: text[:cut]}.append(nil, true)
			feed(t, rawFrame{first: fin, payload: text[cut:]}.append(b, true), want, false)
			b = rawFrame{first: fin | 9}.append(b, true)
			if valid {
				feed(t, rawFrame{first: fin, payload: text[cut:]}.append(b, true), "9: "+want, false)
			}
		}
		feed(t, rawFrame{first: fin | 1, payload: text}.append(nil, true), want, false)
		feed(t, rawFrame{first: fin | 2, payload: text}.append(nil, true), "2:"+text, false)
	}
}

func TestInvalidTextFailsEarly(t *testing.T) {
	for _, tt := range []struct{ good, bad string }{{"κό", "\x80"}, {"a\xed", "\xa0"}, {"\xf4", "\x90"}, {"\xe0", "\x9f"}, {"\xf0", "\x8f"}, {"", "\xc0"}, {"\xf0\x9f\x98", "a"}} {
		b := rawFrame{first: fin | 1, payload: tt.good + tt.bad, size: 1000}.append(nil, true)
		p := &Parser{}
		if got := parse(p, bytes.Clone(b[:len(b)-1])); got != "+" {
			t.Errorf("%q: %q", tt.good, got)
		}
		if got := parse(p, b[len(b)-1:]); got != "!1007" {
			t.Errorf("%q and %q: %q", tt.good, tt.bad, got)
		}
	}
}

func TestMemoryGrowsWithWhatArrives(t *testing.T) {
	p := &Parser{MaxBytes: 64 << 20}
	parse(p, rawFrame{first: fin | 2, size: 64 << 20}.append(nil, true))
	for sent, piece := 0, make([]byte, 1000); sent < 300_000; sent += len(piece) {
		parse(p, piece)
		if got := cap(p.message); got > 2*(sent+len(piece)) {
			t.Fatalf("%d bytes for %d", got, sent+len(piece))
		}
	}
	p = &Parser{}
	b := rawFrame{first: fin | 2, payload: strings.Repeat("x", 1000)}.append(nil, true)
	parse(p, b[:700])
	if parse(p, b[700:1002]); cap(p.message) > 1000 {
		t.Errorf("%d bytes for a message of 1000", cap(p.message))
	}
	// Many small fragments are not copied each time.
	p = &Parser{}
	parse(p, rawFrame{first: 2}.append(nil, true))
	one := rawFrame{first: 0, payload: "x"}.append(nil, true)
	grown, last := 0, 0
	for range 100_000 {
		parse(p, bytes.Clone(one))
		if cap(p.message) != last {
			grown, last = grown+1, cap(p.message)
		}
	}
	if grown > 20 {
		t.Errorf("moved %d times", grown)
	}
}

func TestWholeFramesAreNotCopied(t *testing.T) {
	b := AppendMasked(nil, Text, testMask, []byte("hello"))
	b = AppendMasked(b, Ping, testMask, []byte("ping"))
	p := &Parser{}
	sent := bytes.Clone(b)
	if n := testing.AllocsPerRun(100, func() {
		copy(b, sent)
		m, rest, ok, err := p.Next(b)
		if !ok || err != nil || &m.Data[0] != &b[6] || string(m.Data) != "hello" {
			t.Fatal(m, ok, err)
		}
		if m, _, ok, err = p.Next(rest); !ok || err != nil || m.Op != Ping || &m.Data[0] != &b[17] {
			t.Fatal(m, ok, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
