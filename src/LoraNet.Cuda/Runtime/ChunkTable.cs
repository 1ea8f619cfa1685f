using System.Runtime.InteropServices;
using LoraNet.Cuda.Kernels;

namespace LoraNet.Cuda.Runtime;

/// <summary>
/// The table through which one launch reaches all parameters. It is rebuilt on the host every step, which is cheap, and uploaded
/// only when an address, a size or a learning rate changed.
/// </summary>
internal sealed class ChunkTable(CudaBackend owner)
{
    private const int ChunkElements = 16384;
    private readonly List<OptimizerChunk> _chunks = [], _uploadedChunks = [];
    private readonly List<float> _settings = [], _uploadedSettings = [];
    private long _chunkBytes, _settingBytes;

    /// <summary>Device address of the chunks.</summary>
    public nint Address { get; private set; }

    /// <summary>Device address of the settings.</summary>
    public nint SettingsAddress { get; private set; }

    /// <summary>Number of chunks.</summary>
    public int Count => _chunks.Count;

    /// <summary>Starts a table.</summary>
    public void Begin()
    {
        _chunks.Clear();
        _settings.Clear();
    }

    /// <summary>Adds the chunks of one tensor; an address of 0 (and a copy of 0) stands for an operand that is not used.</summary>
    public void Add(nint parameter, nint gradient, nint first, nint second, long count, int tensor, nint copy = 0)
    {
        for (long start = 0; start < count; start += ChunkElements)
        {
            nint bytes = (nint)(4 * start);
            _chunks.Add(new OptimizerChunk
            {
                Parameter = parameter == 0 ? 0 : parameter + bytes,
                Gradient = gradient + bytes,
                First = first == 0 ? 0 : first + bytes,
                Second = second == 0 ? 0 : second + bytes,
                Copy = copy == 0 ? 0 : copy + bytes / 2,
                Count = (int)Math.Min(ChunkElements, count - start),
                Tensor = tensor,
            });
        }
    }

    /// <summary>Adds the learning rate and the factor 1 − rate·decay of the next tensor.</summary>
    public void AddSetting(float rate, float keep)
    {
        _settings.Add(rate);
        _settings.Add(keep);
    }

    /// <summary>Uploads what changed.</summary>
    public void End()
    {
        (Address, _chunkBytes) = Upload(_chunks, _uploadedChunks, Address, _chunkBytes);
        (SettingsAddress, _settingBytes) = Upload(_settings, _uploadedSettings, SettingsAddress, _settingBytes);
    }

    private (nint Address, long Bytes) Upload<T>(List<T> wanted, List<T> uploaded, nint address, long capacity)
        where T : unmanaged
    {
        ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(wanted));
        if (bytes.SequenceEqual(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(uploaded)))) return (address, capacity);
        if (bytes.Length > capacity)
        {
            if (address != 0) owner.FreeMemory(address);
            capacity = Math.Max(4096, 2L * bytes.Length);
            address = owner.AllocateMemory(capacity);
        }
        owner.UploadTable(bytes, address);
        uploaded.Clear();
        uploaded.AddRange(wanted);
        return (address, capacity);
    }
}
