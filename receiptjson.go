package tandem

import "strconv"

// AppendReceiptJSON appends a receipt as package json writes it, without its reflection.
func AppendReceiptJSON(dst []byte, r *Receipt) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendJSONString(dst, r.ID)
	dst = append(dst, `,"topic":`...)
	dst = appendJSONString(dst, r.Topic)
	dst = append(dst, `,"partition":`...)
	dst = strconv.AppendInt(dst, int64(r.Partition), 10)
	dst = append(dst, `,"offset":`...)
	dst = strconv.AppendUint(dst, r.Offset, 10)
	dst = append(dst, `,"cursor":`...)
	dst = appendJSONString(dst, string(r.Cursor))
	dst = append(dst, `,"duplicate":`...)
	return append(r.Duplicate.append(dst), '}')
}

// AppendAcceptedJSON appends what ack=accepted is answered with: a receipt without a position, since there is none yet.
func AppendAcceptedJSON(dst []byte, r *Receipt) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendJSONString(dst, r.ID)
	dst = append(dst, `,"topic":`...)
	dst = appendJSONString(dst, r.Topic)
	return append(dst, '}')
}
