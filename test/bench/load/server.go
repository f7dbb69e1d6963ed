package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	svidv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/svid/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

const trustDomain = "example.org"
const maxMessageBytes = 64 << 20

func dial(target string, secure credentials.TransportCredentials) (*grpc.ClientConn, error) {
	return grpc.NewClient(target, grpc.WithTransportCredentials(secure),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)))
}

func admin(o options) (*grpc.ClientConn, error) {
	return dial("unix:"+o.text("socket"), insecure.NewCredentials())
}

// ready tells how many milliseconds it took until the health service on the socket said SERVING, and the Unix time of that moment.
func ready(ctx context.Context, o options) (any, error) {
	start := time.Now()
	for ctx.Err() == nil {
		if serving(ctx, o.text("socket")) {
			return map[string]any{"at": float64(time.Now().UnixMicro()) / 1000}, nil
		}
		if time.Since(start) > time.Minute {
			return nil, errors.New("not ready in a minute")
		}
		time.Sleep(time.Millisecond)
	}
	return nil, ctx.Err()
}

func serving(ctx context.Context, socket string) bool {
	connection, err := dial("unix:"+socket, insecure.NewCredentials())
	if err != nil {
		return false
	}
	defer connection.Close()
	answer, err := healthv1.NewHealthClient(connection).Check(ctx, &healthv1.HealthCheckRequest{})
	return err == nil && answer.Status == healthv1.HealthCheckResponse_SERVING
}

func agentPath(name string) string { return "/spire/agent/join_token/" + name }

func newEntry(n int, parent string) *types.Entry {
	return &types.Entry{
		SpiffeId: &types.SPIFFEID{TrustDomain: trustDomain, Path: fmt.Sprintf("/workload/%d", n)},
		ParentId: &types.SPIFFEID{TrustDomain: trustDomain, Path: agentPath(parent)},
		Selectors: []*types.Selector{
			{Type: "unix", Value: fmt.Sprintf("uid:%d", 100_000+n)},
			{Type: "unix", Value: fmt.Sprintf("gid:%d", 100_000+n)},
		},
	}
}

// seed creates entries FROM to FROM+COUNT, EACH of them below one agent NAME-0, NAME-1, …, in batches by one caller after the other.
func seed(ctx context.Context, o options) (any, error) {
	connection, err := admin(o)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	client := entryv1.NewEntryClient(connection)
	count, each, size := o.number("count", 1000), o.number("each", 1000), o.number("batch", 100)
	next := o.number("from", 0)
	end := next + count
	work := func(ctx context.Context) (int, error) {
		var entries []*types.Entry
		for ; len(entries) < size && next < end; next++ {
			entry := newEntry(next, fmt.Sprintf("%s-%d", o.text("name"), next/each))
			if uid, given := o["uid"]; given {
				entry.Selectors = []*types.Selector{{Type: "unix", Value: "uid:" + uid}}
			}
			entries = append(entries, entry)
		}
		answer, err := client.BatchCreateEntry(ctx, &entryv1.BatchCreateEntryRequest{Entries: entries})
		if err != nil {
			return 0, err
		}
		for _, result := range answer.Results {
			if codes.Code(result.Status.Code) != codes.OK {
				return 0, errors.New(result.Status.Message)
			}
		}
		return len(entries), nil
	}
	o["calls"] = fmt.Sprint((count + size - 1) / size)
	return measure(ctx, o, []call{work})
}

func newKey() crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		fail(err)
	}
	return key
}

func newRequest(path string) ([]byte, crypto.Signer) {
	key := newKey()
	template := &x509.CertificateRequest{}
	if path != "" {
		template.URIs = []*url.URL{{Scheme: "spiffe", Host: trustDomain, Path: path}}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		fail(err)
	}
	return der, key
}

func mintX509(ctx context.Context, o options) (any, error) {
	connection, err := admin(o)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	client := svidv1.NewSVIDClient(connection)
	csr, _ := newRequest("/minted")
	return measure(ctx, o, same(o.number("callers", 32), func(ctx context.Context) (int, error) {
		_, err := client.MintX509SVID(ctx, &svidv1.MintX509SVIDRequest{Csr: csr})
		return 1, err
	}))
}

func mintJWT(ctx context.Context, o options) (any, error) {
	connection, err := admin(o)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	client := svidv1.NewSVIDClient(connection)
	request := &svidv1.MintJWTSVIDRequest{
		Id: &types.SPIFFEID{TrustDomain: trustDomain, Path: "/minted"}, Audience: []string{"bench"},
	}
	return measure(ctx, o, same(o.number("callers", 32), func(ctx context.Context) (int, error) {
		_, err := client.MintJWTSVID(ctx, request)
		return 1, err
	}))
}

func token(ctx context.Context, o options, name string) error {
	connection, err := admin(o)
	if err != nil {
		return err
	}
	defer connection.Close()
	_, err = agentv1.NewAgentClient(connection).CreateJoinToken(ctx, &agentv1.CreateJoinTokenRequest{Token: name, Ttl: 3600})
	return err
}

// newToken makes the join token NAME, which is the name of the agent too.
func newToken(ctx context.Context, o options) (any, error) {
	return map[string]string{"name": o.text("name")}, token(ctx, o, o.text("name"))
}

// anyServer trusts whoever answers: who that is is not what is measured.
func anyServer(certificates ...tls.Certificate) credentials.TransportCredentials {
	return credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, Certificates: certificates})
}

func attest(ctx context.Context, connection *grpc.ClientConn, name string, csr []byte) ([][]byte, error) {
	stream, err := agentv1.NewAgentClient(connection).AttestAgent(ctx)
	if err != nil {
		return nil, err
	}
	err = stream.Send(&agentv1.AttestAgentRequest{Step: &agentv1.AttestAgentRequest_Params_{
		Params: &agentv1.AttestAgentRequest_Params{
			Data:   &types.AttestationData{Type: "join_token", Payload: []byte(name)},
			Params: &agentv1.AgentX509SVIDParams{Csr: csr},
		},
	}})
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	answer, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	_ = stream.CloseSend()
	result := answer.GetResult()
	if result == nil {
		return nil, errors.New("no result")
	}
	return result.Svid.CertChain, nil
}

// identity is what an agent has after it joined; kept in a file, so that it joins once for several loads.
type identity struct {
	Chain [][]byte `json:"chain"`
	Key   []byte   `json:"key"`
}

// asAgent opens a connection with the identity of the agent NAME, which joins if the file IDENTITY does not have it yet.
func asAgent(ctx context.Context, o options) (*grpc.ClientConn, error) {
	path := o.text("identity")
	kept, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		kept, err = joinAs(ctx, o, path)
	}
	if err != nil {
		return nil, err
	}
	var own identity
	if err := json.Unmarshal(kept, &own); err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(own.Key)
	if err != nil {
		return nil, err
	}
	return dial(o.text("address"), anyServer(tls.Certificate{Certificate: own.Chain, PrivateKey: key}))
}

func joinAs(ctx context.Context, o options, path string) ([]byte, error) {
	if err := token(ctx, o, o.text("name")); err != nil {
		return nil, err
	}
	unknown, err := dial(o.text("address"), anyServer())
	if err != nil {
		return nil, err
	}
	defer unknown.Close()
	csr, key := newRequest("")
	chain, err := attest(ctx, unknown, o.text("name"), csr)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	kept, err := json.Marshal(identity{Chain: chain, Key: der})
	if err != nil {
		return nil, err
	}
	return kept, os.WriteFile(path, kept, 0o600)
}

// batchX509 asks for the SVIDs of SIZE entries of one agent at a time.
func batchX509(ctx context.Context, o options) (any, error) {
	connection, err := asAgent(ctx, o)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	size := o.number("size", 50)
	ids, err := authorizedIDs(ctx, connection, size)
	if err != nil {
		return nil, err
	}
	request := &svidv1.BatchNewX509SVIDRequest{}
	for _, id := range ids[:size] {
		csr, _ := newRequest("")
		request.Params = append(request.Params, &svidv1.NewX509SVIDParams{EntryId: id, Csr: csr})
	}
	client := svidv1.NewSVIDClient(connection)
	return measure(ctx, o, same(o.number("callers", 4), func(ctx context.Context) (int, error) {
		answer, err := client.BatchNewX509SVID(ctx, request)
		if err != nil {
			return 0, err
		}
		for _, result := range answer.Results {
			if codes.Code(result.Status.Code) != codes.OK {
				return 0, errors.New(result.Status.Message)
			}
		}
		return len(answer.Results), nil
	}))
}

func newJWT(ctx context.Context, o options) (any, error) {
	connection, err := asAgent(ctx, o)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	ids, err := authorizedIDs(ctx, connection, 1)
	if err != nil {
		return nil, err
	}
	client := svidv1.NewSVIDClient(connection)
	request := &svidv1.NewJWTSVIDRequest{EntryId: ids[0], Audience: []string{"bench"}}
	return measure(ctx, o, same(o.number("callers", 32), func(ctx context.Context) (int, error) {
		_, err := client.NewJWTSVID(ctx, request)
		return 1, err
	}))
}

// attestMany joins agents, each on a connection of its own as a real one does, with tokens that were made before.
func attestMany(ctx context.Context, o options) (any, error) {
	connection, err := admin(o)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	client := agentv1.NewAgentClient(connection)
	count := o.number("calls", 1000)
	names := make([]string, count)
	var next atomic.Int64
	var all sync.WaitGroup
	failures := make(chan error, 32)
	for range 32 {
		all.Go(func() {
			for n := int(next.Add(1)) - 1; n < count; n = int(next.Add(1)) - 1 {
				answer, err := client.CreateJoinToken(ctx, &agentv1.CreateJoinTokenRequest{Ttl: 3600})
				if err != nil {
					failures <- err
					return
				}
				names[n] = answer.Value
			}
		})
	}
	all.Wait()
	if len(failures) > 0 {
		return nil, <-failures
	}
	o["calls"] = fmt.Sprint(count)
	csr, _ := newRequest("")
	next.Store(0)
	return measure(ctx, o, same(o.number("callers", 32), func(ctx context.Context) (int, error) {
		own, err := dial(o.text("address"), anyServer())
		if err != nil {
			return 0, err
		}
		defer own.Close()
		_, err = attest(ctx, own, names[next.Add(1)-1], csr)
		return 1, err
	}))
}

// authorizedIDs waits until the agent has at least so many entries: who reads them from a cache has them seconds after they were stored.
func authorizedIDs(ctx context.Context, connection *grpc.ClientConn, least int) ([]string, error) {
	client := entryv1.NewEntryClient(connection)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		answer, err := client.GetAuthorizedEntries(ctx, &entryv1.GetAuthorizedEntriesRequest{})
		if err != nil {
			return nil, err
		}
		if len(answer.Entries) < least {
			if time.Now().After(deadline) {
				return nil, fmt.Errorf("the agent has %d of %d entries", len(answer.Entries), least)
			}
			continue
		}
		ids := make([]string, len(answer.Entries))
		for n, entry := range answer.Entries {
			ids[n] = entry.Id
		}
		return ids, nil
	}
}

// agentMask is what an agent asks for.
var agentMask = &types.EntryMask{
	SpiffeId: true, Selectors: true, FederatesWith: true, Admin: true, Downstream: true, RevisionNumber: true,
	StoreSvid: true, Hint: true, CreatedAt: true,
}

func authorized(ctx context.Context, o options) (any, error) {
	connection, err := asAgent(ctx, o)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	if _, err := authorizedIDs(ctx, connection, o.number("entries", 1000)); err != nil {
		return nil, err
	}
	request := &entryv1.GetAuthorizedEntriesRequest{OutputMask: agentMask}
	return measure(ctx, o, same(o.number("callers", 4), func(ctx context.Context) (int, error) {
		var answer raw
		err := connection.Invoke(ctx, entryv1.Entry_GetAuthorizedEntries_FullMethodName, request, &answer, grpc.ForceCodec(rawCodec{}))
		return answer.size, err
	}))
}

// syncEntries does what an agent with up-to-date entries does at each of its turns: it reads the revisions and asks for nothing.
func syncEntries(ctx context.Context, o options) (any, error) {
	connection, err := asAgent(ctx, o)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	if _, err := authorizedIDs(ctx, connection, o.number("entries", 1000)); err != nil {
		return nil, err
	}
	request := &entryv1.SyncAuthorizedEntriesRequest{OutputMask: agentMask}
	description := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	return measure(ctx, o, same(o.number("callers", 4), func(ctx context.Context) (int, error) {
		method := entryv1.Entry_SyncAuthorizedEntries_FullMethodName
		stream, err := connection.NewStream(ctx, description, method, grpc.ForceCodec(rawCodec{}))
		if err != nil {
			return 0, err
		}
		if err := stream.SendMsg(request); err != nil {
			return 0, err
		}
		size := 0
		for answer := (raw{more: true}); answer.more; size += answer.size {
			if err := stream.RecvMsg(&answer); err != nil {
				return 0, err
			}
		}
		if err := stream.CloseSend(); err != nil {
			return 0, err
		}
		// The answer's end: a stream that is given up instead looks like an attack to a server that counts.
		if err := stream.RecvMsg(&raw{}); !errors.Is(err, io.EOF) {
			return 0, err
		}
		return size, nil
	}))
}

// signatures measures this machine: P-256 signatures and verifications a second on one core, by Go's own library.
func signatures(context.Context, options) (any, error) {
	key := newKey().(*ecdsa.PrivateKey)
	digest := sha256.Sum256([]byte("bench"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		return nil, err
	}
	rate := func(work func()) float64 {
		start := time.Now()
		count := 0
		for ; time.Since(start) < time.Second; count++ {
			work()
		}
		return float64(count) / time.Since(start).Seconds()
	}
	return map[string]float64{
		"sign":   rate(func() { _, _ = ecdsa.SignASN1(rand.Reader, key, digest[:]) }),
		"verify": rate(func() { ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) }),
	}, nil
}
