using System.IO.Compression;
using LoraNet.Tensors;

namespace LoraNet.Formats;

/// <summary>
/// Reads the tensors of a PyTorch file (.pt, .bin) of version 1.6 or later: a zip archive with a pickle that describes the
/// tensors and one entry for each storage. Nothing of it is run: see <see cref="PickleReader"/>. Meant for small adapter files.
/// </summary>
public static class TorchFile
{
    private const long MaxBytes = 2_000_000_000;
    private const long MaxPickleBytes = 64 << 20;

    private static readonly Dictionary<string, DType> _storages = new(StringComparer.Ordinal)
    {
        ["FloatStorage"] = DType.F32,
        ["HalfStorage"] = DType.F16,
        ["BFloat16Storage"] = DType.BF16,
        ["DoubleStorage"] = DType.F64,
        ["LongStorage"] = DType.I64,
        ["IntStorage"] = DType.I32,
        ["ShortStorage"] = DType.I16,
        ["CharStorage"] = DType.I8,
        ["ByteStorage"] = DType.U8,
        ["BoolStorage"] = DType.Bool,
    };

    private static readonly string[] _wrappers = ["model_state_dict", "state_dict", "model", "module"];

    private sealed record Storage(DType DType, string Key, long Count);

    private sealed record View(Storage Storage, long Offset, int[] Shape, long[] Strides);

    /// <summary>Reads all tensors as binary32 in row-major order, in the order of the file.</summary>
    /// <param name="path">The file; a state dictionary, or one under <c>model_state_dict</c>, <c>state_dict</c> or <c>model</c>.</param>
    /// <exception cref="LoraNetException">The file is missing, damaged, not of this format, or holds something other than weights.</exception>
    public static IReadOnlyList<(string Name, HostTensor Tensor)> Read(string path)
    {
        if (!File.Exists(path)) throw new LoraNetException($"{path} does not exist.");
        try
        {
            using ZipArchive zip = ZipFile.OpenRead(path);
            ZipArchiveEntry pickle = zip.Entries.FirstOrDefault(e => e.FullName == "data.pkl" || e.FullName.EndsWith("/data.pkl", StringComparison.Ordinal))
                ?? throw new LoraNetException($"{path} is a zip archive without data.pkl, so not a PyTorch file.");
            string root = pickle.FullName[..^"data.pkl".Length];
            if (zip.GetEntry(root + "byteorder") is { } order && System.Text.Encoding.ASCII.GetString(Content(path, order)).Trim() != "little")
                throw new LoraNetException($"{path} was written on a big-endian machine.", "Save it again on a little-endian one.");
            PickleReader reader = null!;
            reader = new PickleReader(path, Content(path, pickle, MaxPickleBytes), Allowed, (function, arguments) => Call(reader, function, arguments), id => Persistent(reader, id));
            Dictionary<string, object?> state = Unwrap(reader.Read() as Dictionary<string, object?> ?? throw new LoraNetException($"{path} does not hold a state dictionary."));
            Dictionary<string, byte[]> contents = [];
            List<(string, HostTensor)> tensors = [];
            long total = 0;
            foreach ((string name, object? value) in state)
            {
                if (value is not View view) continue;
                total = checked(total + Elements(path, name, view) * 4);
                if (total > MaxBytes) throw new LoraNetException($"{path} holds more than {MaxBytes:N0} bytes of tensors, too much for an adapter.", "Save large models as safetensors.");
                if (!contents.TryGetValue(view.Storage.Key, out byte[]? bytes))
                {
                    ZipArchiveEntry entry = zip.GetEntry($"{root}data/{view.Storage.Key}") ?? throw new LoraNetException($"{path}: the storage of tensor '{name}' is missing.", "Download or copy the file again.");
                    contents[view.Storage.Key] = bytes = Content(path, entry);
                }
                tensors.Add((name, Materialise(path, name, view, bytes)));
            }
            if (tensors.Count == 0) throw new LoraNetException($"{path} holds no tensor.");
            return tensors;
        }
        catch (Exception e) when (e is InvalidDataException or EndOfStreamException)
        {
            throw new LoraNetException($"{path} is not a PyTorch file of version 1.6 or later, or is damaged: {e.Message}", "Save older files again with a newer PyTorch, or as safetensors.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new LoraNetException($"{path} cannot be read: {e.Message}", null, e);
        }
    }

    private static bool Allowed(PickleReader.Global g) => g switch
    {
        { Module: "collections", Name: "OrderedDict" } => true,
        { Module: "torch._utils", Name: "_rebuild_tensor_v2" or "_rebuild_parameter" } => true,
        { Module: "torch" } => _storages.ContainsKey(g.Name),
        _ => false,
    };

    private static object? Call(PickleReader reader, PickleReader.Global function, object?[] arguments) => function.Name switch
    {
        "OrderedDict" when arguments.Length == 0 => new Dictionary<string, object?>(),
        "_rebuild_parameter" when arguments is [View view, ..] => view,
        "_rebuild_tensor_v2" when arguments is [Storage storage, long offset, object?[] shape, object?[] strides, ..] && shape.Length == strides.Length && shape.Length <= 8
            => new View(storage, offset, [.. shape.Select(d => d is long n and >= 0 and <= int.MaxValue ? (int)n : throw reader.Error("holds a tensor of an impossible shape"))],
                [.. strides.Select(s => s is long n and >= 0 and <= int.MaxValue ? n : throw reader.Error("holds a tensor of impossible strides"))]),
        _ => throw reader.Error($"calls '{function.Module}.{function.Name}' in an unknown way"),
    };

    private static Storage Persistent(PickleReader reader, object? id) =>
        id is object?[] and ["storage", PickleReader.Global { Module: "torch" } type, string key, string, long count, ..] && count >= 0 && key.All(char.IsAsciiLetterOrDigit)
            ? new Storage(_storages[type.Name], key, count)
            : throw reader.Error("refers to an unknown kind of external data");

    private static Dictionary<string, object?> Unwrap(Dictionary<string, object?> state)
    {
        foreach (string wrapper in _wrappers)
            if (state.TryGetValue(wrapper, out object? inner) && inner is Dictionary<string, object?> dictionary) return dictionary;
        return state;
    }

    private static long Elements(string path, string name, View view)
    {
        UInt128 count = 1, last = (UInt128)Math.Max(0, view.Offset);
        for (int d = 0; d < view.Shape.Length; d++)
        {
            count = UInt128.Min(count, (UInt128)MaxBytes + 1) * (uint)view.Shape[d];
            last += (UInt128)view.Strides[d] * (uint)Math.Max(0, view.Shape[d] - 1);
        }
        if (view.Offset < 0 || count > (UInt128)MaxBytes || (count > 0 && last >= (UInt128)view.Storage.Count))
            throw new LoraNetException($"{path}: tensor '{name}' reaches beyond its storage of {view.Storage.Count} values.", "Download or copy the file again.");
        return (long)count;
    }

    private static unsafe HostTensor Materialise(string path, string name, View view, byte[] bytes)
    {
        int size = view.Storage.DType.Size();
        if (bytes.Length != view.Storage.Count * size)
            throw new LoraNetException($"{path}: the storage of tensor '{name}' has {bytes.Length} bytes; {view.Storage.Count} values of type {view.Storage.DType} were expected.", "Download or copy the file again.");
        float[] all = new float[view.Storage.Count];
        fixed (byte* p = bytes) HostConvert.ToSingle(p, view.Storage.DType, all);
        float[] values = new float[Elements(path, name, view)];
        int[] index = new int[view.Shape.Length];
        for (int i = 0; i < values.Length; i++)
        {
            long at = view.Offset;
            for (int d = 0; d < index.Length; d++) at += index[d] * view.Strides[d];
            values[i] = all[at];
            for (int d = index.Length - 1; d >= 0 && ++index[d] == view.Shape[d]; d--) index[d] = 0;
        }
        return HostTensor.Copy(values, view.Shape);
    }

    private static byte[] Content(string path, ZipArchiveEntry entry, long limit = MaxBytes)
    {
        if (entry.Length > limit) throw new LoraNetException($"{path}: entry '{entry.FullName}' is larger than an adapter can be.");
        using Stream stream = entry.Open();
        // A header may lie about the length, so memory grows with what is really there.
        using MemoryStream content = new();
        byte[] buffer = new byte[81920];
        for (int read; (read = stream.Read(buffer)) > 0;)
        {
            if (content.Length + read > limit) throw new LoraNetException($"{path}: entry '{entry.FullName}' is larger than an adapter can be.");
            content.Write(buffer, 0, read);
        }
        return content.ToArray();
    }
}
