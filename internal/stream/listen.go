package stream

// readBytes is how much is read from a client at once.
const readBytes = 16 << 10

func lendRead(s *Streams) func() *[]byte {
	return func() *[]byte {
		b := s.buffer()
		if cap(*b) < readBytes {
			*b = make([]byte, readBytes)
		}
		return b
	}
}

// source reads what a client sends. It holds no buffer while there is nothing to read.
type source struct {
	s    *Streams
	sink *connSink
	own  []byte // where reading needs a buffer beforehand
}

// next calls take with what was read. It returns false at the end.
func (r *source) next(take func(b []byte) bool) bool {
	if r.sink.raw == nil || !canRead {
		if r.own == nil {
			r.own = make([]byte, 4<<10)
		}
		n, err := r.sink.Read(r.own)
		return (n == 0 || take(r.own[:n])) && err == nil
	}
	b, n, err := readSome(r.sink.raw, lendRead(r.s), r.s.release)
	if b == nil {
		return false
	}
	defer r.s.release(b)
	return err == nil && n > 0 && take((*b)[:n])
}

// listen waits until a client of SSE, who has nothing to say, closes the connection.
func (m *member) listen(sink *connSink) {
	defer m.s.running.Done()
	defer m.close()
	r := source{s: m.s, sink: sink}
	for r.next(func([]byte) bool { return true }) {
	}
}

// gone waits until nobody writes any more. m is closed.
func (m *member) gone() { m.pumps.Wait() }
