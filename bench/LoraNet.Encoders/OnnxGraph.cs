using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using LoraNet;

/// <summary>A stored tensor of an ONNX graph.</summary>
/// <param name="Shape">Dimensions.</param>
/// <param name="Values">Row-major values.</param>
internal sealed record OnnxTensor(int[] Shape, float[] Values);

/// <summary>One operation of an ONNX graph.</summary>
/// <param name="Kind">op_type, such as MatMul.</param>
/// <param name="Inputs">Names of its inputs.</param>
/// <param name="Outputs">Names of its outputs.</param>
internal sealed record OnnxNode(string Kind, IReadOnlyList<string> Inputs, IReadOnlyList<string> Outputs);

/// <summary>
/// The parts of an ONNX file that a converter of weights needs: nodes and binary32 initializers. Field numbers are those of
/// onnx.proto: ModelProto.graph 7; GraphProto.node 1, initializer 5; NodeProto.input 1, output 2, op_type 4; TensorProto.dims 1,
/// data_type 2, name 8, raw_data 9.
/// </summary>
internal sealed class OnnxGraph
{
    private const int FloatType = 1;

    /// <summary>Operations in order.</summary>
    public List<OnnxNode> Nodes { get; } = [];

    /// <summary>Binary32 initializers by name; others are left out.</summary>
    public Dictionary<string, OnnxTensor> Initializers { get; } = [];

    /// <summary>Reads a file.</summary>
    /// <exception cref="LoraNetException">The bytes are not an intact ONNX model.</exception>
    public static OnnxGraph Parse(ReadOnlyMemory<byte> file)
    {
        OnnxGraph graph = new();
        foreach ((int field, ReadOnlyMemory<byte> bytes, _) in Fields(file))
        {
            if (field != 7) continue;
            foreach ((int part, ReadOnlyMemory<byte> content, _) in Fields(bytes))
            {
                if (part == 1) graph.Nodes.Add(Node(content));
                if (part == 5) graph.AddInitializer(content);
            }
        }
        return graph;
    }

    private static OnnxNode Node(ReadOnlyMemory<byte> bytes)
    {
        string kind = "";
        List<string> inputs = [], outputs = [];
        foreach ((int field, ReadOnlyMemory<byte> value, _) in Fields(bytes))
        {
            if (field == 1) inputs.Add(Text(value));
            if (field == 2) outputs.Add(Text(value));
            if (field == 4) kind = Text(value);
        }
        return new OnnxNode(kind, inputs, outputs);
    }

    private void AddInitializer(ReadOnlyMemory<byte> bytes)
    {
        string name = "";
        ulong type = 0;
        List<int> shape = [];
        ReadOnlyMemory<byte> raw = default;
        foreach ((int field, ReadOnlyMemory<byte> value, ulong number) in Fields(bytes))
        {
            switch (field)
            {
                // Packed or one by one, as the writer liked.
                case 1 when value.IsEmpty: shape.Add(checked((int)number)); break;
                case 1:
                    for (int at = 0; at < value.Length;) shape.Add(checked((int)Varint(value.Span, ref at)));
                    break;
                case 2: type = number; break;
                case 8: name = Text(value); break;
                case 9: raw = value; break;
            }
        }
        if (type != FloatType) return;
        long count = 1;
        foreach (int d in shape) count *= d;
        if (raw.Length != count * sizeof(float)) throw new LoraNetException($"Initializer '{name}' has {raw.Length} bytes for {count} values.");
        Initializers[name] = new OnnxTensor([.. shape], MemoryMarshal.Cast<byte, float>(raw.Span).ToArray());
    }

    /// <summary>Fields of a protobuf message: number, bytes of a length-delimited one, value of a number.</summary>
    private static List<(int Field, ReadOnlyMemory<byte> Bytes, ulong Number)> Fields(ReadOnlyMemory<byte> message)
    {
        List<(int, ReadOnlyMemory<byte>, ulong)> fields = [];
        ReadOnlySpan<byte> span = message.Span;
        for (int at = 0; at < span.Length;)
        {
            ulong tag = Varint(span, ref at);
            int field = (int)(tag >> 3);
            switch (tag & 7)
            {
                case 0: fields.Add((field, default, Varint(span, ref at))); break;
                case 1: at = Skip(span, at, 8); break;
                case 2:
                    ulong length = Varint(span, ref at);
                    int start = at;
                    at = Skip(span, at, length);
                    fields.Add((field, message[start..at], 0));
                    break;
                case 5: at = Skip(span, at, 4); break;
                default: throw Damaged();
            }
        }
        return fields;
    }

    private static int Skip(ReadOnlySpan<byte> span, int at, ulong length) => length <= (ulong)(span.Length - at) ? at + (int)length : throw Damaged();

    private static ulong Varint(ReadOnlySpan<byte> span, ref int at)
    {
        ulong value = 0;
        for (int shift = 0; shift < 70; shift += 7)
        {
            if (at >= span.Length) throw Damaged();
            byte b = span[at++];
            value |= (ulong)(b & 127) << shift;
            if (b < 128) return value;
        }
        throw Damaged();
    }

    private static string Text(ReadOnlyMemory<byte> bytes) => Encoding.UTF8.GetString(bytes.Span);

    private static LoraNetException Damaged() => new("The ONNX file is damaged.");
}
