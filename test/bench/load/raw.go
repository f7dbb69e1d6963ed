package main

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// raw is an answer of which only the size and the end count: what decoding it costs the load generator, on the same machine, would
// hide what it costs the server to make it.
type raw struct {
	size int
	more bool
}

// rawCodec sends messages as usual and takes answers as raw.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(message any) ([]byte, error) {
	if message, isMessage := message.(proto.Message); isMessage {
		return proto.Marshal(message)
	}
	return nil, fmt.Errorf("%T is no message", message)
}

func (rawCodec) Unmarshal(data []byte, answer any) error {
	into, isRaw := answer.(*raw)
	if !isRaw {
		return fmt.Errorf("%T is not raw", answer)
	}
	// The field `more` of a synchronisation, true, is written last.
	end := len(data) - 2
	*into = raw{size: len(data), more: end >= 0 && data[end] == 3<<3 && data[end+1] == 1}
	return nil
}
