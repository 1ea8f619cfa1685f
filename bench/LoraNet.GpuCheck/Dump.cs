using LoraNet.Cuda.Ptx;

namespace LoraNet.GpuCheck;

/// <summary>Writes the text of every catalogued kernel, one file each, named target.entry.ptx.</summary>
internal static class Dump
{
    public static void Write(string folder)
    {
        Directory.CreateDirectory(folder);
        foreach (IKernelSpec spec in KernelCatalogue.All())
        {
            PtxKernelText k = spec.Build();
            string target = k.Text.Split('\n')[1][8..].Trim();
            File.WriteAllText(Path.Combine(folder, $"{target}.{k.Entry}.ptx"), k.Text);
        }
    }
}
