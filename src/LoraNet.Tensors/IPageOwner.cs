namespace LoraNet.Tensors;

/// <summary>Implemented by a <see cref="HostTensor.Owner"/> whose memory can leave the process and come back, such as a mapped file.</summary>
public interface IPageOwner
{
    /// <summary>Says that these bytes will hardly be read again. They stay readable: what was let go comes back from the file.</summary>
    /// <param name="address">First byte.</param>
    /// <param name="bytes">Number of bytes.</param>
    void Forget(nint address, long bytes);
}
