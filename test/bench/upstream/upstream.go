// Package upstream is a pretend LLM provider made for speed: it knows three answers by heart, and reads of a request no more
// than it must. What it costs is the same whichever proxy is in front of it.
package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"ollama-api-pool/test/bench/wire"
)

// Serve answers on a listener until ctx ends, and returns when every connection is closed.
func Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for {
		c, err := l.Accept()
		switch {
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		all.Go(func() {
			defer c.Close()
			leave := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer leave()
			_ = serve(c) // a peer that leaves, or says what cannot be read, loses its connection and shows what is wrong with it
		})
	}
}

// serve answers one request after another on a connection.
func serve(c net.Conn) error {
	in := wire.NewReader(c, 4<<10)
	var body []byte
	for {
		head, err := in.Head()
		if err != nil {
			return err
		}
		known := bytes.HasPrefix(wire.Header(head, "Authorization"), []byte("Bearer "+Key))
		framing, _, err := wire.FramingOf(head)
		if err != nil {
			return err
		}
		body = body[:0]
		err = in.Body(framing, func(piece []byte) error { body = append(body, piece...); return nil })
		if err != nil {
			return err
		}
		if err := answer(c, in, body, known); err != nil {
			return err
		}
	}
}

var (
	wholeAnswer = []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(whole)) + "\r\n\r\n" + string(whole))
	streamHead  = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	unknownKey  = []byte("HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
	noSuchModel = []byte("HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
)

var errLeft = errors.New("the client of an idle stream has left")

func answer(c net.Conn, in *wire.Reader, body []byte, known bool) error {
	model := asked(body)
	n, every, stream := steps(model)
	var err error
	switch {
	case !known:
		_, err = c.Write(unknownKey)
	case model == modelWhole:
		_, err = c.Write(wholeAnswer)
	case model == modelIdle:
		if _, err = c.Write(chunk([]byte(streamHead), event(0, 2))); err != nil {
			return err
		}
		_, err = in.Head() // waits until the client goes
		return errors.Join(errLeft, err)
	case stream:
		err = stepped(c, n, every)
	default:
		_, err = c.Write(noSuchModel)
	}
	return err
}

// stepped sends events at their times, counted from the beginning, so that one that goes late puts none behind it off.
func stepped(w io.Writer, n int, every time.Duration) error {
	start := time.Now()
	buf := make([]byte, 0, 512)
	buf = append(buf, streamHead...)
	for i := range n {
		time.Sleep(time.Until(start.Add(time.Duration(i) * every)))
		buf = chunk(buf, event(i, n))
		if i == n-1 {
			buf = append(chunk(buf, done), "0\r\n\r\n"...)
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
		buf = buf[:0]
	}
	return nil
}

func chunk(to, data []byte) []byte {
	to = strconv.AppendInt(to, int64(len(data)), 16)
	to = append(to, "\r\n"...)
	to = append(to, data...)
	return append(to, "\r\n"...)
}
