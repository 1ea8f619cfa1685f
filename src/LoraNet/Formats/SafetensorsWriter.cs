using System.Buffers.Binary;
using System.Text.Encodings.Web;
using System.Text.Json;
using LoraNet.Tensors;

namespace LoraNet.Formats;

/// <summary>
/// Writes safetensors files as <see cref="AtomicFile"/> does, one tensor at a time, so that a merged model needs no second copy in memory.
/// Equal input gives equal bytes: tensors are ordered by element size (largest first, as the reference implementation does,
/// so that each starts at a multiple of its size), then by name; metadata by key; the header is padded with spaces to a multiple of 8 bytes.
/// </summary>
public static class SafetensorsWriter
{
    private const int BufferBytes = 1 << 20;

    /// <summary>The metadata that PyTorch-based loaders expect: <c>{"format": "pt"}</c>.</summary>
    public static IReadOnlyDictionary<string, string> DefaultMetadata { get; } = new Dictionary<string, string> { ["format"] = "pt" };

    /// <summary>Writes a file; if anything fails, a file that was there before is untouched.</summary>
    /// <param name="path">The target.</param>
    /// <param name="tensors">The tensors, in any order.</param>
    /// <param name="metadata">The header's <c>__metadata__</c>; null for <see cref="DefaultMetadata"/>, empty for none.</param>
    /// <param name="refuseNonFinite">Fail if a floating-point tensor holds NaN or an infinity.</param>
    /// <exception cref="LoraNetException">The file cannot be written, two tensors have one name, or a value is not finite though that was asked.</exception>
    public static void Write(string path, IEnumerable<SafetensorsEntry> tensors, IReadOnlyDictionary<string, string>? metadata = null, bool refuseNonFinite = false)
    {
        SafetensorsEntry[] sorted = [.. tensors.OrderByDescending(static t => t.DType.Size()).ThenBy(static t => t.Name, StringComparer.Ordinal)];
        byte[] header = Header(path, sorted, metadata ?? DefaultMetadata, out long dataBytes);
        using AtomicFileStream file = new(path, header.Length + dataBytes);
        file.Write(header);
        byte[] buffer = new byte[(int)Math.Min(BufferBytes, (dataBytes + 7) / 8 * 8)];
        foreach (SafetensorsEntry tensor in sorted)
        {
            using TensorStream stream = new(file, path, tensor, ByteCount(tensor), refuseNonFinite, buffer);
            tensor.Write(stream);
            stream.Finish();
        }
        file.Commit();
    }

    private static byte[] Header(string path, SafetensorsEntry[] sorted, IReadOnlyDictionary<string, string> metadata, out long dataBytes)
    {
        using MemoryStream memory = new();
        memory.Write(stackalloc byte[8]);
        HashSet<string> names = new(StringComparer.Ordinal) { "__metadata__" };
        long offset = 0;
        using (Utf8JsonWriter json = new(memory, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            if (metadata.Count > 0)
            {
                json.WriteStartObject("__metadata__");
                foreach ((string key, string value) in metadata.OrderBy(static p => p.Key, StringComparer.Ordinal)) json.WriteString(key, value);
                json.WriteEndObject();
            }
            foreach (SafetensorsEntry tensor in sorted)
            {
                if (!names.Add(tensor.Name)) throw new LoraNetException($"{path} cannot be written: the tensor name \"{tensor.Name}\" is {(tensor.Name == "__metadata__" ? "reserved" : "used twice")}.");
                json.WriteStartObject(tensor.Name);
                json.WriteString("dtype", SafetensorsTypes.Name(tensor.DType));
                json.WriteStartArray("shape");
                foreach (int d in tensor.Shape) json.WriteNumberValue(d);
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(offset);
                json.WriteNumberValue(offset = checked(offset + ByteCount(tensor)));
                json.WriteEndArray();
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        while (memory.Length % 8 != 0) memory.WriteByte((byte)' ');
        if (memory.Length - 8 > SafetensorsFile.MaxHeaderBytes) throw new LoraNetException($"{path} cannot be written: its header would need {memory.Length - 8} bytes.", "Write fewer tensors per file.");
        byte[] header = memory.ToArray();
        BinaryPrimitives.WriteInt64LittleEndian(header, header.Length - 8);
        dataBytes = offset;
        return header;
    }

    private static long ByteCount(SafetensorsEntry tensor)
    {
        long bytes = tensor.DType.Size();
        foreach (int d in tensor.Shape)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(d, nameof(tensor));
            bytes = checked(bytes * d);
        }
        return bytes;
    }

    /// <summary>Collects one tensor's bytes in whole elements, checks them, and passes them on; refuses too many or too few.</summary>
    private sealed class TensorStream(Stream file, string path, SafetensorsEntry tensor, long expected, bool refuseNonFinite, byte[] buffer) : Stream
    {
        private long _written;
        private long _drained;
        private int _filled;

        public override bool CanRead => false;
        public override bool CanSeek => false;
        public override bool CanWrite => true;
        public override long Length => _written;
        public override long Position { get => _written; set => throw new NotSupportedException(); }

        public override void Write(ReadOnlySpan<byte> bytes)
        {
            if (bytes.Length > expected - _written) throw new InvalidOperationException($"Tensor \"{tensor.Name}\" was given more than its {expected} bytes.");
            _written += bytes.Length;
            while (bytes.Length > 0)
            {
                int n = Math.Min(bytes.Length, buffer.Length - _filled);
                bytes[..n].CopyTo(buffer.AsSpan(_filled));
                _filled += n;
                bytes = bytes[n..];
                if (_filled == buffer.Length) Drain();
            }
        }

        public override void Write(byte[] bytes, int offset, int count) => Write(bytes.AsSpan(offset, count));

        public void Finish()
        {
            if (_written != expected) throw new InvalidOperationException($"Tensor \"{tensor.Name}\" was given {_written} of its {expected} bytes.");
            Drain();
        }

        // The buffer's length is a multiple of 8, so that a full one never ends inside an element.
        private void Drain()
        {
            ReadOnlySpan<byte> bytes = buffer.AsSpan(0, _filled);
            if (refuseNonFinite && NonFinite.Find(bytes, tensor.DType) is >= 0 and int index)
            {
                long element = _drained / tensor.DType.Size() + index;
                throw new LoraNetException($"{path} was not written: tensor \"{tensor.Name}\" is NaN or infinite at element {element}.",
                    "The training diverged: lower the learning rate and start from the last good checkpoint.");
            }
            file.Write(bytes);
            _drained += _filled;
            _filled = 0;
        }

        public override void Flush() { }
        public override int Read(byte[] bytes, int offset, int count) => throw new NotSupportedException();
        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
