using System.Buffers.Binary;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using LoraNet;

/// <summary>Embedded resources of a .NET assembly, read from its file without loading it.</summary>
internal static class AssemblyResources
{
    /// <summary>The bytes of one resource.</summary>
    /// <exception cref="LoraNetException">The file is no assembly or has no such resource.</exception>
    public static byte[] Read(string path, string name)
    {
        byte[] file = File.ReadAllBytes(path);
        using PEReader reader = new(new MemoryStream(file));
        if (!reader.HasMetadata || reader.PEHeaders.CorHeader is not { } header || !reader.PEHeaders.TryGetDirectoryOffset(header.ResourcesDirectory, out int start))
            throw new LoraNetException($"{path} is not a .NET assembly with resources.");
        MetadataReader metadata = reader.GetMetadataReader();
        foreach (ManifestResourceHandle handle in metadata.ManifestResources)
        {
            ManifestResource resource = metadata.GetManifestResource(handle);
            if (metadata.GetString(resource.Name) != name || !resource.Implementation.IsNil) continue;
            // Each resource is a little-endian length, then its bytes.
            long at = start + resource.Offset;
            if (at + 4 > file.Length) break;
            int length = BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan((int)at));
            if (length < 0 || at + 4 + length > file.Length) break;
            return file[(int)(at + 4)..(int)(at + 4 + length)];
        }
        throw new LoraNetException($"{path} has no intact resource '{name}'.");
    }
}
