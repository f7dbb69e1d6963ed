package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// ask sends one request on a stream of either version and gives the answer as the newer version has it: they are the same on the wire.
type ask func(request *reflectionv1.ServerReflectionRequest) (*reflectionv1.ServerReflectionResponse, error)

func askV1(ctx context.Context, connection *grpc.ClientConn) (ask, error) {
	stream, err := reflectionv1.NewServerReflectionClient(connection).ServerReflectionInfo(ctx)
	return func(request *reflectionv1.ServerReflectionRequest) (*reflectionv1.ServerReflectionResponse, error) {
		if err := stream.Send(request); err != nil {
			return nil, err
		}
		return stream.Recv()
	}, err
}

func askV1Alpha(ctx context.Context, connection *grpc.ClientConn) (ask, error) {
	stream, err := reflectionv1alpha.NewServerReflectionClient(connection).ServerReflectionInfo(ctx)
	return func(request *reflectionv1.ServerReflectionRequest) (*reflectionv1.ServerReflectionResponse, error) {
		older, newer := &reflectionv1alpha.ServerReflectionRequest{}, &reflectionv1.ServerReflectionResponse{}
		if err := recode(request, older); err != nil {
			return nil, err
		}
		if err := stream.Send(older); err != nil {
			return nil, err
		}
		answer, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		return newer, recode(answer, newer)
	}, err
}

func recode(from, to proto.Message) error {
	bytes, err := proto.Marshal(from)
	if err != nil {
		return err
	}
	return proto.Unmarshal(bytes, to)
}

// reflectOn asks by either version of reflection, one request a line of standard input, and prints an answer a line. File descriptors are
// shown as what they declare: services with their methods, and messages with their fields.
func reflectOn(ctx context.Context, arguments []string) error {
	connection, err := grpc.NewClient("unix:"+arguments[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	open := map[string]func(context.Context, *grpc.ClientConn) (ask, error){"v1": askV1, "v1alpha": askV1Alpha}[arguments[1]]
	asked, err := open(ctx, connection)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		request := &reflectionv1.ServerReflectionRequest{}
		if err := protojson.Unmarshal(lines.Bytes(), request); err != nil {
			return err
		}
		answer, err := asked(request)
		if err != nil {
			return err
		}
		if !proto.Equal(answer.GetOriginalRequest(), request) || answer.GetValidHost() != request.GetHost() {
			return fmt.Errorf("the answer is to another request: %v", answer.GetOriginalRequest())
		}
		if err := emitReflected(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

func emitReflected(answer *reflectionv1.ServerReflectionResponse) error {
	descriptors := answer.GetFileDescriptorResponse().GetFileDescriptorProto()
	if descriptors == nil {
		answer.OriginalRequest = nil
		text, err := protojson.Marshal(answer)
		if err != nil {
			return err
		}
		// protojson varies its white space on purpose.
		var value any
		if err := json.Unmarshal(text, &value); err != nil {
			return err
		}
		emit(value)
		return nil
	}
	files, err := parseFiles(descriptors)
	if err != nil {
		return err
	}
	declared := map[string]map[string]string{}
	names := []string{}
	for _, file := range files {
		names = append(names, file.GetName())
		for _, service := range file.Service {
			methods := map[string]string{}
			for _, method := range service.Method {
				methods[method.GetName()] = fmt.Sprintf("%s %v -> %s %v", method.GetInputType(), method.GetClientStreaming(),
					method.GetOutputType(), method.GetServerStreaming())
			}
			declared[fullName(file, service.GetName())] = methods
		}
		for _, message := range file.MessageType {
			fields := map[string]string{}
			for _, field := range message.Field {
				fields[field.GetName()] = fmt.Sprintf("%d %v %v %s", field.GetNumber(), field.GetLabel(), field.GetType(), field.GetTypeName())
			}
			declared[fullName(file, message.GetName())] = fields
		}
	}
	sort.Strings(names[1:])
	emit(map[string]any{"files": names, "declared": declared})
	return nil
}

func fullName(file *descriptorpb.FileDescriptorProto, name string) string {
	if file.GetPackage() == "" {
		return name
	}
	return file.GetPackage() + "." + name
}

func parseFiles(descriptors [][]byte) ([]*descriptorpb.FileDescriptorProto, error) {
	files := []*descriptorpb.FileDescriptorProto{}
	for _, bytes := range descriptors {
		file := &descriptorpb.FileDescriptorProto{}
		if err := proto.Unmarshal(bytes, file); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// invoke calls a unary method with an empty request, knowing nothing but its name and what reflection tells, as grpcurl does.
func invoke(ctx context.Context, arguments []string) error {
	connection, err := grpc.NewClient("unix:"+arguments[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	asked, err := askV1(ctx, connection)
	if err != nil {
		return err
	}
	service, method := protoreflect.FullName(arguments[1]), protoreflect.Name(arguments[2])
	answer, err := asked(&reflectionv1.ServerReflectionRequest{
		MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: string(service)},
	})
	if err != nil {
		return err
	}
	parsed, err := parseFiles(answer.GetFileDescriptorResponse().GetFileDescriptorProto())
	if err != nil {
		return err
	}
	// All that a file imports must have come with it.
	files, err := protodesc.NewFiles(&descriptorpb.FileDescriptorSet{File: parsed})
	if err != nil {
		return err
	}
	shape, err := methodOf(files, service, method)
	if err != nil {
		return err
	}
	response := dynamicpb.NewMessage(shape.Output())
	path := fmt.Sprintf("/%s/%s", service, method)
	if err := connection.Invoke(ctx, path, dynamicpb.NewMessage(shape.Input()), response); err != nil {
		return err
	}
	text, err := protojson.Marshal(response)
	fmt.Println(string(text))
	return err
}

func methodOf(files *protoregistry.Files, service protoreflect.FullName, method protoreflect.Name) (protoreflect.MethodDescriptor, error) {
	found, err := files.FindDescriptorByName(service.Append(method))
	if err != nil {
		return nil, err
	}
	return found.(protoreflect.MethodDescriptor), nil
}
