using System.Buffers.Binary;
using LoraNet.Tensors;

namespace LoraNet.Formats;

/// <summary>
/// A safetensors file, mapped into memory: 8 bytes header length (little-endian), a JSON header naming each tensor's
/// type, shape and byte range, then the data (format: https://huggingface.co/docs/safetensors). Opening reads the
/// header only and executes nothing; every number in it is checked before it is used.
/// </summary>
/// <remarks>
/// Tensors are views into the map, without copies. The map stays valid while this file or any of its tensors is reachable,
/// unless <see cref="Dispose"/> is called: then no tensor of it may be touched any more.
/// </remarks>
public sealed class SafetensorsFile : IDisposable
{
    /// <summary>Longest header accepted, in bytes: the limit of the reference implementation.</summary>
    public const long MaxHeaderBytes = 100_000_000;

    private readonly MappedFile _map;

    private SafetensorsFile(MappedFile map, SafetensorsHeader header, int headerLength)
    {
        _map = map;
        Metadata = header.Metadata;
        nint data = map.Address + 8 + headerLength;
        Dictionary<string, HostTensor> tensors = new(header.Tensors.Count, StringComparer.Ordinal);
        foreach (SafetensorsHeader.Entry entry in header.Tensors)
            tensors.Add(entry.Name, new HostTensor(data + (nint)entry.Begin, entry.DType, entry.Shape, map));
        Tensors = tensors;
    }

    /// <summary>The path it was opened with.</summary>
    public string Path => _map.Path;

    /// <summary>Size of the file in bytes.</summary>
    public long Length => _map.Length;

    /// <summary>All tensors by name.</summary>
    public IReadOnlyDictionary<string, HostTensor> Tensors { get; }

    /// <summary>The header's <c>__metadata__</c>; empty when it has none.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Maps a file and reads its header.</summary>
    /// <param name="path">Path of a <c>.safetensors</c> file.</param>
    /// <exception cref="LoraNetException">The file is missing, unreadable, truncated, not a safetensors file, or its header is malformed.</exception>
    public static unsafe SafetensorsFile Open(string path)
    {
        MappedFile map = MappedFile.Open(path);
        try
        {
            ReadOnlySpan<byte> start = new((void*)map.Address, (int)Math.Min(map.Length, 64));
            if (map.Length < 8)
                throw new LoraNetException($"{path} is truncated: {map.Length} bytes, but a safetensors file starts with an 8-byte header length.", "Download or copy it again.");
            ulong headerLength = BinaryPrimitives.ReadUInt64LittleEndian(start);
            if (headerLength > (ulong)MaxHeaderBytes)
            {
                // Only here: the first bytes of other formats, read as a length, are all beyond the limit.
                RefuseOtherFormats(path, start);
                throw new LoraNetException($"{path} is not a safetensors file: it announces a header of {headerLength} bytes (at most {MaxHeaderBytes} are allowed).", "Check that this is the right file.");
            }
            if (headerLength > (ulong)(map.Length - 8))
                throw new LoraNetException($"{path} is truncated or not a safetensors file: it announces a header of {headerLength} bytes, but only {map.Length - 8} follow.", "Download or copy it again.");
            ReadOnlySpan<byte> json = new((byte*)map.Address + 8, (int)headerLength);
            SafetensorsHeader header = SafetensorsHeader.Parse(path, json, map.Length - 8 - (long)headerLength);
            return new SafetensorsFile(map, header, (int)headerLength);
        }
        catch
        {
            map.Dispose();
            throw;
        }
    }

    /// <summary>Unmaps the file. No tensor of it may be used afterwards.</summary>
    public void Dispose() => _map.Dispose();

    private static void RefuseOtherFormats(string path, ReadOnlySpan<byte> start)
    {
        if (start.StartsWith("version https://git-lfs"u8))
            throw new LoraNetException($"{path} is a Git LFS pointer, not the file itself.", "Run 'git lfs pull' in that folder, or download the file from the model's page.");
        // A zip archive (PyTorch's format since 1.6) or a bare pickle of protocol 2.
        if (start is [(byte)'P', (byte)'K', 3, 4, ..] or [0x80, 2, ..])
            throw new LoraNetException($"{path} is a PyTorch pickle file, not safetensors.", "Convert it with safetensors.torch.save_file; pickle files can run code and are not opened.");
        if (start.StartsWith("GGUF"u8))
            throw new LoraNetException($"{path} is a GGUF file, not safetensors.", "Use the Hugging Face folder of the model instead.");
        if (start.StartsWith("<!DOCTYPE"u8) || start.StartsWith("<html"u8))
            throw new LoraNetException($"{path} is a web page, not a safetensors file.", "The download failed or needs a login; download it again.");
    }
}
